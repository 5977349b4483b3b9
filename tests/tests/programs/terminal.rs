//! A program on a terminal, whose questions are answered.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::FdFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

/// How long a program may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines and columns: no line of a question is broken.
const SIZE: Winsize = Winsize { ws_row: 60, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };

/// Runs the program on a terminal of its own: each time one of the texts appears after the last answer, what belongs to it is typed. What
/// was on the screen, and how the program ended.
///
/// The terminal controls no session, so it stops nobody for being in the background: who starts the tests, and by what shell, is all one.
///
/// # Panics
/// When the program ends without having asked everything, or does not end.
pub(crate) fn answering(mut program: Command, answers: &[(&str, &str)]) -> (String, ExitStatus) {
    let (screen, terminal) = open();
    program.env("TERM", "xterm").stdin(terminal.try_clone().unwrap()).stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let mut child = program.spawn().unwrap();
    let words: Vec<_> = std::iter::once(program.get_program()).chain(program.get_args()).map(OsStr::to_string_lossy).collect();
    let name = words.join(" ");
    // The screen ends when nobody holds the terminal any more, and this holds three of it.
    drop(program);

    let (started, shown) = (Instant::now(), shown(screen.try_clone().unwrap()));
    let (mut keys, mut said, mut from, mut left) = (screen, Vec::new(), 0, answers);
    let killed = loop {
        match shown.recv_timeout(PATIENCE.saturating_sub(started.elapsed())) {
            Ok(more) => said.extend(more),
            Err(RecvTimeoutError::Disconnected) => break "",
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                break ", killed for its time";
            }
        }
        if let Some(((question, answer), rest)) = left.split_first()
            && String::from_utf8_lossy(&said[from..]).contains(question)
        {
            (from, left) = (said.len(), rest);
            keys.write_all(answer.as_bytes()).unwrap();
        }
    };
    let status = child.wait().unwrap();
    let text = String::from_utf8_lossy(&said).into_owned();
    let ended = format!("{name} ended after {:.1?} with {status}{killed}", started.elapsed());
    assert!(left.is_empty(), "{ended}, did not ask {:?}: {text}", left[0].0);
    assert!(killed.is_empty(), "{ended}: {text}");
    (text, status)
}

/// A new terminal: our side, and the program's.
fn open() -> (File, File) {
    let ours = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::io::fcntl_setfd(&ours, FdFlags::CLOEXEC).unwrap();
    rustix::pty::grantpt(&ours).unwrap();
    rustix::pty::unlockpt(&ours).unwrap();
    let name = rustix::pty::ptsname(&ours, Vec::new()).unwrap();
    // Without NOCTTY it would become the terminal that controls the tests, where they lead a session and have none.
    let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    rustix::termios::tcsetwinsize(&theirs, SIZE).unwrap();
    (ours.into(), theirs.into())
}

/// What appears on the screen, piece by piece, until nobody has the terminal any more.
fn shown(mut screen: File) -> Receiver<Vec<u8>> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Some(count) = screen.read(&mut buffer).ok().filter(|count| *count > 0) {
            if tell.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    told
}

fn node(script: &str) -> Command {
    let mut node = Command::new("node");
    node.args(["-e", script]);
    node
}

#[test]
fn a_program_that_takes_single_keys_is_answered() {
    let script = "process.stdin.setRawMode(true); console.log(`${process.stdout.columns} columns?`);
                  process.stdin.once('data', (keys) => { console.log(`got ${keys}`); process.exit(3); })";
    let (text, status) = answering(node(script), &[("200 columns?", "yes")]);
    assert!(text.contains("got yes") && status.code() == Some(3), "{status}: {text}");
}

#[test]
#[should_panic(expected = "with exit status: 3, did not ask \"a question\": almost a quest")]
fn how_a_program_ended_that_did_not_ask_is_said() {
    answering(node("console.log('almost a quest'); process.exit(3)"), &[("a question", "")]);
}
