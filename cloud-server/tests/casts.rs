//! What a site makes of values where a column's type changes is what PostgreSQL makes of them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;

use cloud_server::test_support;
use sync_core::catalog::Column;
use sync_core::id::ColumnNo;
use sync_core::policy::Policy;
use sync_core::value::{Cast, ColumnType};
use tokio_postgres::{Client, NoTls};

/// A column as a site knows it.
fn column(sql_type: &str, ty: ColumnType) -> Column {
    let length = |prefix: &str| sql_type.strip_prefix(prefix)?.strip_suffix(')')?.parse().ok();
    Column {
        no: ColumnNo(1),
        name: "v".to_owned(),
        ty,
        sql_type: sql_type.to_owned(),
        not_null: false,
        default: None,
        max_length: length("character varying(").or_else(|| length("character(")),
        policy: Policy::default(),
        added: None,
        fixed: false,
    }
}

/// The column type of a type as `format_type` writes it.
fn of(sql_type: &str) -> Column {
    if let Some(element) = sql_type.strip_suffix("[]") {
        return column(sql_type, ColumnType::Array(Box::new(of(element).ty)));
    }
    let ty = match sql_type.split('(').next().unwrap() {
        "boolean" => ColumnType::Bool,
        "smallint" => ColumnType::Int2,
        "integer" => ColumnType::Int4,
        "bigint" => ColumnType::Int8,
        "real" => ColumnType::Float4,
        "double precision" => ColumnType::Float8,
        "numeric" => ColumnType::Numeric,
        "money" => ColumnType::Money,
        "text" | "character varying" | "name" => ColumnType::Text,
        "character" => ColumnType::Char,
        "uuid" => ColumnType::Uuid,
        "timestamp" if sql_type.ends_with("with time zone") => ColumnType::Timestamptz,
        "timestamp with time zone" => ColumnType::Timestamptz,
        "timestamp" | "timestamp without time zone" => ColumnType::Timestamp,
        "date" => ColumnType::Date,
        "time" if sql_type.ends_with("with time zone") => ColumnType::Timetz,
        "time with time zone" => ColumnType::Timetz,
        "time" | "time without time zone" => ColumnType::Time,
        "interval" => ColumnType::Interval,
        "bytea" => ColumnType::Bytea,
        "jsonb" => ColumnType::Json,
        "json" => ColumnType::JsonText,
        "inet" => ColumnType::Inet,
        "cidr" => ColumnType::Cidr,
        "macaddr" => ColumnType::Macaddr,
        "macaddr8" => ColumnType::Macaddr8,
        "bit" | "bit varying" => ColumnType::Bits,
        "mood" => ColumnType::Enum(vec!["good".into(), "so so".into()]),
        _ => ColumnType::Other,
    };
    column(sql_type, ty)
}

async fn client() -> (Client, test_support::Database) {
    let database = test_support::database().await;
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let plain =
        "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = postgres; SET extra_float_digits = 1; SET bytea_output = hex;
                 SET lc_monetary = 'C'; CREATE TYPE mood AS ENUM ('good', 'so so')";
    client.batch_execute(plain).await.unwrap();
    (client, database)
}

/// What PostgreSQL makes of a value, and what a site does, each as text: what differs, in words.
async fn differing(client: &Client, from: &str, to: &str, literals: &[&str]) -> String {
    let (was, now) = (of(from), of(to));
    let cast = Cast::between(&was, &now);
    let mut found = String::new();
    for literal in literals {
        let sql = format!("DROP TABLE IF EXISTS t; CREATE TEMP TABLE t (v {from}); INSERT INTO t VALUES ($v${literal}$v$)");
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{from} {literal}: {error:?}"));
        let text = async || client.query_one("SELECT v::text FROM t", &[]).await.unwrap().get::<_, String>(0);
        // A site knows the site's own spelling of a range, and PostgreSQL's of everything else.
        let before = if was.ty == ColumnType::Other { (*literal).to_owned() } else { text().await };
        let value = was.ty.parse_postgres(&before).unwrap();
        let here = cast.as_ref().map_or_else(|| Some(value.clone()), |cast| cast.apply(&value));
        // Where it has no cast, a migration says USING.
        let mut alter = client.batch_execute(&format!("ALTER TABLE t ALTER v TYPE {to}")).await;
        if alter.as_ref().is_err_and(|error| error.code().is_some_and(|code| code.code() == "42804")) {
            alter = client.batch_execute(&format!("ALTER TABLE t ALTER v TYPE {to} USING v::{to}")).await;
        }
        let there = match alter {
            Ok(()) => Some(now.ty.parse_postgres(&text().await).unwrap()),
            Err(_) => None,
        };
        if here != there {
            let _ = writeln!(found, "{from} {before} to {to}: a site makes {here:?}, PostgreSQL {there:?}");
        }
    }
    found
}

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1.5",
    "0.5",
    "1.5",
    "2.5",
    "-2.5",
    "0.1",
    "100000",
    "999999",
    "1e6",
    "1234567",
    "0.0001",
    "0.00001",
    "1e14",
    "1e15",
    "123456789012345680",
    "1e30",
    "NaN",
    "Infinity",
    "-Infinity",
    "0.30000000000000004",
    "2147483647.5",
    "3.4e38",
    "32767.5",
    "1e-30",
];
const NUMERICS: &[&str] = &[
    "0",
    "1.5",
    "2.5",
    "-2.5",
    "0.05",
    "0.04",
    "-0.05",
    "99999999.99",
    "12.35",
    "12.34",
    "0.5",
    "0.45",
    "9.95",
    "9.99",
    "123456.78",
    "-9.95",
    "32767.49",
    "32767.5",
    "55",
    "45",
    "-0.01",
    "NaN",
];
const MOMENTS: &[&str] = &[
    "2026-01-31 12:00:00.5",
    "2026-01-31 12:00:00.499999",
    "2026-12-31 23:59:59.95",
    "1999-12-31 23:59:58.5",
    "1999-12-31 23:59:58.4999",
    "0044-03-15 12:00:00.25 BC",
    "infinity",
    "-infinity",
    "12026-01-31 00:00:00",
    "1969-12-31 23:59:59.5",
    "2000-01-01 00:00:00.05",
];
const TIMES: &[&str] = &["00:00:00", "12:00:00.5", "12:34:56.123456", "23:59:59.95", "24:00:00"];
const INTERVALS: &[&str] =
    &["1 mon -2 days +03:00:00", "00:00:00", "1 year 2 mons 3 days 04:05:06.789", "-00:00:00.5", "30:00:00.25", "-1 days -02:00:00.05"];
const INTEGERS: &[&str] = &["0", "1", "-1", "16777217", "2147483647", "-32768", "32768", "9"];
const BIG: &[&str] = &["9223372036854775807", "9007199254740993", "-5", "16777217", "32768", "123456789012345678"];
const DOCUMENTS: &[&str] = &[
    r#"{"bb": 1, "a": [1, 2.5, {"x": null}], "c": "q\"\\\n\u00e9\u001f"}"#,
    "[]",
    "{}",
    "\"x\"",
    "1e3",
    "true",
    "null",
    r#"{"é": 1, "zz": 2, "b": 3}"#,
];
const WORDS: &[&str] = &["", "a", "two words", "trailing  ", "éàü", "0123456789", "0123456789    ", "null"];

/// What a value of each type becomes as a text.
#[tokio::test]
async fn a_column_that_becomes_text_holds_what_postgresql_writes() {
    let (client, _database) = client().await;
    let mut found = String::new();
    for (from, literals) in [
        ("boolean", &["true", "false"][..]),
        ("smallint", &["-5", "32767"]),
        ("integer", INTEGERS),
        ("bigint", BIG),
        (
            "real",
            &[
                "0",
                "-1.5",
                "0.1",
                "100000",
                "999999",
                "1e6",
                "1234567",
                "0.0001",
                "0.00001",
                "16777217",
                "3.4e38",
                "NaN",
                "-Infinity",
                "1e-30",
            ],
        ),
        ("double precision", FLOATS),
        ("numeric", &["0", "1.5", "-12.34", "NaN", "Infinity", "123456789012345678901234567890.5"]),
        ("numeric(10,2)", NUMERICS),
        ("numeric(10,0)", &["5", "-3"]),
        ("money", &["0", "-1234.5", "1234567.89", "0.05", "-0.05", "999"]),
        ("uuid", &["0198C0DE-0000-7000-8000-000000000001"]),
        ("timestamp with time zone", MOMENTS),
        ("timestamp without time zone", MOMENTS),
        ("timestamp(0) with time zone", &["2026-01-31 12:00:00+05:30"]),
        ("date", &["2026-01-31", "0044-03-15 BC", "infinity", "12026-01-31"]),
        ("time without time zone", TIMES),
        ("time with time zone", &["12:00:00.5+02", "12:00:00-05:30", "00:00:00+00"]),
        ("interval", INTERVALS),
        ("bytea", &["", "\\x00ff10"]),
        ("jsonb", DOCUMENTS),
        ("json", &[r#"{"b" : 1,  "a":1, "a":2}"#]),
        ("inet", &["10.0.0.1", "10.0.0.1/8", "2001:db8::1", "::/0"]),
        ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
        ("macaddr", &["08:00:2b:01:02:03"]),
        ("macaddr8", &["08:00:2b:ff:fe:01:02:03"]),
        ("bit(3)", &["101"]),
        ("bit varying(5)", &["10110", ""]),
        ("mood", &["good", "so so"]),
        ("character(5)", &["ab", "abcde"]),
        ("name", WORDS),
        ("character varying(20)", WORDS),
        ("int4range", &["[1,5)", "[1,4]", "(1,4)", "empty", "[,3]", "(,)", "[1,1)", "[3,3]", " [ 1 , 4 ] "]),
        ("int8range", &["(9223372036854775800,)", "[1,4]"]),
        ("daterange", &["[2026-01-31,2026-02-01]", "(2025-12-31,infinity]", "[,2026-01-01)"]),
        ("numrange", &["[1.50,2)", "(0,0]", "[0,0]", "[1.5,]"]),
        ("tsrange", &["[2026-01-31,2026-02-01 12:00:00.50]", "(,2026-01-01)"]),
        ("tstzrange", &["[2026-01-31T12:00:00Z,2026-02-01 12:00:00+02)", "[\"2026-01-31 12:00:00+00\",]"]),
        ("point", &["(1,2.5)"]),
        ("integer[]", &["{1,NULL,3}", "{}", "{{1,2},{3,4}}", "[0:1]={7,8}"]),
        ("text[]", &[r#"{a,"b c",NULL,"NULL","","q\"u\\o","{x}","a,b",é}"#]),
        ("boolean[]", &["{t,f,NULL}"]),
        ("double precision[]", &["{0.1,1e300,NaN,1e15}"]),
        ("real[]", &["{0.1,1e6,16777217}"]),
        ("numeric(10,2)[]", &["{1.5,2}"]),
        ("timestamp with time zone[]", &["{2026-01-31 12:00:00+00,infinity}"]),
        ("date[]", &["{2026-01-31}"]),
        ("time without time zone[]", &["{12:00:00}"]),
        ("jsonb[]", &[r#"{"{\"bb\": 1, \"a\": [1, 2]}","1"}"#]),
        ("bytea[]", &[r#"{"\\x00ff"}"#]),
        ("inet[]", &["{10.0.0.1,10.0.0.1/8}"]),
        ("character(5)[]", &["{ab}"]),
        ("mood[]", &["{good,\"so so\"}"]),
        ("uuid[]", &["{0198c0de-0000-7000-8000-000000000001}"]),
        ("money[]", &["{1234.5}"]),
        ("int4range[]", &["{\"[1,4)\"}"]),
        ("interval[]", &["{1 day,02:00:00}"]),
    ] {
        for to in ["text", "character varying(12)"] {
            found += &differing(&client, from, to, literals).await;
        }
    }
    assert_eq!(found, "");
}

/// Numbers, times and texts as others of their kind: rounded as PostgreSQL rounds, refused where it refuses.
#[tokio::test]
async fn a_column_of_another_type_holds_what_postgresqls_assignment_makes_of_its_values() {
    let (client, _database) = client().await;
    let mut found = String::new();
    let whole = ["smallint", "integer", "bigint"];
    let real = ["real", "double precision"];
    let exact = ["numeric", "numeric(10,2)", "numeric(10,1)", "numeric(4,1)", "numeric(3,0)", "numeric(3,-1)", "numeric(2,3)"];
    for to in whole.iter().chain(&real).chain(&exact).chain(&["money"]) {
        found += &differing(&client, "integer", to, INTEGERS).await;
        found += &differing(&client, "bigint", to, BIG).await;
        found += &differing(&client, "numeric(10,2)", to, NUMERICS).await;
        found += &differing(
            &client,
            "numeric",
            to,
            &["1e39", "1e-60", "1e400", "Infinity", "0.0049", "0.0095", "9223372036854775807.5", "0.005", "0.5"],
        )
        .await;
        if *to != "money" {
            found += &differing(&client, "double precision", to, FLOATS).await;
            found +=
                &differing(&client, "double precision", to, &["1e39", "1e-60", "9223372036854775807", "-9223372036854775808", "0.0005"])
                    .await;
            found +=
                &differing(&client, "real", to, &["0.1", "16777217", "12345678900", "2.5", "NaN", "3.4e38", "9.2233720e18", "1.15"]).await;
        }
        found += &differing(&client, "text", to, &["7", " 7 ", "seven", "7.25"]).await;
    }
    found += &differing(&client, "money", "numeric(10,1)", &["1234.55", "-0.05"]).await;
    for precision in ["(0) ", "(1) ", "(3) ", " "] {
        for zone in ["with", "without"] {
            let (stamp, time) = (format!("timestamp{precision}{zone} time zone"), format!("time{precision}{zone} time zone"));
            for from in ["timestamp with time zone", "timestamp without time zone", "timestamp(4) with time zone", "text"] {
                found += &differing(&client, from, &stamp, MOMENTS).await;
            }
            found += &differing(&client, "date", &stamp, &["2026-01-31", "infinity", "0044-03-15 BC", "300000-01-01"]).await;
            found += &differing(&client, "time without time zone", &time, TIMES).await;
        }
        let (time, span) = (format!("time{precision}without time zone"), format!("interval{}", precision.trim()));
        found += &differing(&client, "time with time zone", &time, &["12:00:00.55+02"]).await;
        found += &differing(&client, "timestamp with time zone", &time, &["2026-01-31 12:00:00.55+02"]).await;
        found += &differing(&client, "interval", &time, INTERVALS).await;
        found += &differing(&client, "interval", &span, INTERVALS).await;
        found += &differing(&client, "time without time zone", &span, TIMES).await;
    }
    for from in ["timestamp with time zone", "timestamp without time zone"] {
        found += &differing(&client, from, "date", MOMENTS).await;
    }
    for to in ["character varying(10)", "character(10)", "name", "text", "boolean", "uuid", "bytea"] {
        found += &differing(&client, "character varying(40)", to, WORDS).await;
        found += &differing(&client, "text", to, &["yes", "OFF", " t ", "o", "good", "x", "\\x00ff"]).await;
    }
    // Of a label that no enum has, the cloud says so.
    found += &differing(&client, "text", "mood", &["good"]).await;
    found += &differing(&client, "text", "jsonb", &["null", "{\"b\":1}", "{"]).await;
    for to in ["bit(3)", "bit(4)", "bit varying(2)", "bit varying(5)"] {
        found += &differing(&client, "bit(3)", to, &["101"]).await;
        found += &differing(&client, "bit varying(5)", to, &["101", "11111"]).await;
    }
    found += &differing(&client, "inet", "cidr", &["10.0.0.1", "10.0.0.1/8", "2001:db8::1/32"]).await;
    found += &differing(&client, "cidr", "inet", &["10.0.0.0/8", "10.0.0.1/32"]).await;
    found += &differing(&client, "macaddr", "macaddr8", &["08:00:2b:01:02:03"]).await;
    found += &differing(&client, "macaddr8", "macaddr", &["08:00:2b:ff:fe:01:02:03", "08:00:2b:00:00:01:02:03"]).await;
    found += &differing(&client, "json", "jsonb", &[r#"{"b" : 1.50,  "a":1, "a":2}"#]).await;
    found += &differing(&client, "jsonb", "json", DOCUMENTS).await;
    found += &differing(&client, "integer[]", "bigint[]", &["{1,NULL}"]).await;
    found += &differing(&client, "numeric(10,2)[]", "numeric(10,1)[]", &["{1.25,2}", "[0:0]={9.99}"]).await;
    found += &differing(&client, "double precision[]", "integer[]", &["{1.5,2.5}", "{1e300}"]).await;
    found += &differing(&client, "integer[]", "text[]", &["{1,NULL}"]).await;
    assert_eq!(found, "");
}
