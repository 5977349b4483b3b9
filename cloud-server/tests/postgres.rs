//! The private cluster, started for real: kept data, crashes, strangers, and what it says when it cannot start.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use cloud_server::postgres::{Cluster, Durability, PostgresError};
use cloud_server::test_support::{self, cluster_dir};

async fn query(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn execute(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

fn signal(pid: u32, name: &str) {
    assert!(std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

async fn until_gone(pid: u32) {
    let started = Instant::now();
    let path = format!("/proc/{pid}/cmdline");
    while std::fs::read(&path).is_ok_and(|line| !line.is_empty()) {
        assert!(started.elapsed() < Duration::from_secs(30), "process {pid} lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_second_start_finds_the_data_of_the_first() {
    let dir = cluster_dir();
    let cluster = Cluster::start(dir.path(), Durability::Durable).await.unwrap();
    cluster.ensure_database("shop").await.unwrap();
    cluster.ensure_database("shop").await.unwrap();
    let url = cluster.url("shop");
    execute(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").await;
    assert_eq!(query(&url, "SHOW fsync").await, "on");
    assert_eq!(query(&url, "SELECT rolsuper::text FROM pg_roles WHERE rolname = current_user").await, "false");
    cluster.stop().await.unwrap();

    let again = Cluster::start(dir.path(), Durability::Durable).await.unwrap();
    assert_eq!(again.url("shop"), url, "the URL survives a restart");
    assert_eq!(query(&url, "SELECT n::text FROM t").await, "7");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn it_starts_again_after_its_postmaster_was_killed() {
    let dir = cluster_dir();
    let cluster = Cluster::start(dir.path(), Durability::Durable).await.unwrap();
    cluster.create_database("shop", None).await.unwrap();
    let url = cluster.url("shop");
    execute(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").await;
    // A session that is busy when the postmaster dies keeps its memory for a moment.
    let (_busy, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    cluster.kill().unwrap();
    assert!(dir.path().join("data/postmaster.pid").exists(), "the crash left its mark");

    let again = Cluster::start(dir.path(), Durability::Durable).await.unwrap();
    assert_eq!(query(&again.url("shop"), "SELECT n::text FROM t").await, "7");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_it_stops_it() {
    let dir = cluster_dir();
    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    let pid = cluster.pid();
    drop(cluster);
    until_gone(pid).await;
    assert!(!dir.path().join("data/postmaster.pid").exists(), "the stop was orderly");
}

#[tokio::test]
async fn a_postmaster_left_behind_is_stopped_before_the_next_start() {
    let dir = cluster_dir();
    let cluster = Cluster::start(dir.path(), Durability::Durable).await.unwrap();
    cluster.create_database("shop", None).await.unwrap();
    let pid = cluster.pid();
    // The folder moves to a new owner while the old postmaster still runs, as when our process and its watchdog were killed.
    let kept = dir.path().join("kept");
    std::mem::forget(cluster);
    std::fs::rename(dir.path().join("lock"), &kept).unwrap();

    let again = Cluster::start(dir.path(), Durability::Durable).await.unwrap();
    assert_ne!(again.pid(), pid);
    until_gone(pid).await;
    assert_eq!(query(&again.url("shop"), "SELECT 'here'").await, "here");
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_number_that_is_by_now_somebody_elses_is_not_signalled() {
    let dir = cluster_dir();
    Cluster::start(dir.path(), Durability::Throwaway).await.unwrap().stop().await.unwrap();
    let mut stranger = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    std::fs::write(dir.path().join("data/postmaster.pid"), format!("{}\n", stranger.id())).unwrap();

    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger lives");
    cluster.stop().await.unwrap();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_second_owner_is_refused_while_the_first_lives() {
    let dir = cluster_dir();
    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    let refused = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap_err();
    assert!(matches!(refused, PostgresError::InUse { .. }), "{refused}");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_initdb_that_was_cut_off_is_begun_again() {
    let dir = cluster_dir();
    std::fs::create_dir_all(dir.path().join("data.new/base")).unwrap();
    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    assert_eq!(query(&cluster.superuser_url("postgres"), "SELECT 'here'").await, "here");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_left_to_its_owner() {
    let dir = cluster_dir();
    Cluster::start(dir.path(), Durability::Throwaway).await.unwrap().stop().await.unwrap();
    let stranger = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    std::fs::write(dir.path().join("port"), port.to_string()).unwrap();

    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    assert_ne!(cluster.port(), port);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn what_keeps_it_from_starting_is_said_with_the_end_of_its_log() {
    let dir = cluster_dir();
    Cluster::start(dir.path(), Durability::Throwaway).await.unwrap().stop().await.unwrap();
    std::fs::write(dir.path().join("data/postgresql.conf"), "shared_buffers = plenty\n").unwrap();
    let refused = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap_err();
    assert!(matches!(&refused, PostgresError::DidNotStart { log, .. } if log.contains("shared_buffers")), "{refused}");
}

#[tokio::test]
async fn data_of_another_major_version_is_not_touched() {
    let dir = cluster_dir();
    Cluster::start(dir.path(), Durability::Throwaway).await.unwrap().stop().await.unwrap();
    std::fs::write(dir.path().join("data/PG_VERSION"), "99\n").unwrap();
    let refused = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap_err();
    assert!(matches!(refused, PostgresError::OtherMajor { made_by: 99 }), "{refused}");
}

#[tokio::test]
async fn only_who_knows_the_password_gets_in() {
    let dir = cluster_dir();
    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    let password = dir.path().join("password");
    assert_eq!(std::fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let guess = format!("postgresql://postgres:guess@127.0.0.1:{}/postgres", cluster.port());
    let refused = tokio_postgres::connect(&guess, tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refused.code(), Some(&tokio_postgres::error::SqlState::INVALID_PASSWORD));
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let prepare = |url: String| async move { execute(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)").await };
    let one = test_support::database_like("counted", prepare).await;
    let two = test_support::database_like("counted", |_| async { panic!("it is prepared once") }).await;
    execute(one.url(), "DELETE FROM t").await;
    assert_eq!(query(one.url(), "SELECT count(*)::text FROM t").await, "0");
    assert_eq!(query(two.url(), "SELECT count(*)::text FROM t").await, "1");
    let (name, superuser) = (one.name().to_owned(), test_support::cluster().await.superuser_url("postgres"));
    drop(one);
    assert_eq!(query(&superuser, &format!("SELECT count(*)::text FROM pg_database WHERE datname = '{name}'")).await, "0");
    assert_eq!(test_support::database().await.name().split('_').next(), Some("test"));
}

/// Run by the test below in a process of its own, which it then kills.
#[tokio::test]
#[ignore = "a part of another test"]
async fn a_cluster_to_be_killed_with_its_process() {
    let dir = std::env::var_os("REJOIN_TEST_DIR").unwrap();
    let cluster = Cluster::start(Path::new(&dir), Durability::Throwaway).await.unwrap();
    std::fs::write(Path::new(&dir).join("started"), format!("{}", cluster.pid())).unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
}

/// Run by the test below in a process of its own, whose umask closes what it makes.
#[tokio::test]
#[ignore = "a part of another test"]
async fn a_cluster_under_another_umask() {
    let dir = cluster_dir();
    Cluster::start(&dir.path().join("data/of/its own"), Durability::Throwaway).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn it_starts_under_a_umask_that_closes_everything_to_others() {
    let output = std::process::Command::new("sh")
        .args(["-c", "umask 077; exec \"$0\" --exact --ignored a_cluster_under_another_umask"])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn it_goes_with_its_process_however_that_ends() {
    let dir = cluster_dir();
    let mut owner = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "a_cluster_to_be_killed_with_its_process"])
        .env("REJOIN_TEST_DIR", dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = dir.path().join("started");
    let pid = loop {
        assert!(owner.try_wait().unwrap().is_none(), "the owner ended early");
        match std::fs::read_to_string(&started).ok().and_then(|text| text.parse().ok()) {
            Some(pid) => break pid,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    signal(owner.id(), "KILL");
    owner.wait().unwrap();
    // At once: the next start meets a postmaster that is going down.
    let cluster = Cluster::start(dir.path(), Durability::Throwaway).await.unwrap();
    until_gone(pid).await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn what_needs_more_locks_than_there_is_room_for_is_told_which_setting_to_raise() {
    let database = test_support::database().await;
    let (client, connection) = tokio_postgres::connect(database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let refused = client.query("SELECT pg_advisory_xact_lock(n) FROM generate_series(1, 10000000) n", &[]).await.unwrap_err();
    let said = cloud_server::store::error::StoreError::from(refused).to_string();
    assert!(said.contains("out of shared memory (53200)") && said.contains("raise max_locks_per_transaction"), "{said}");
}
