//! The program as it is called.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn morse(words: &[&str], text: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_morse"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its words does not read.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn there_and_back() {
    let there = morse(&[], "sos\n");
    assert_eq!(there.stdout, b"... --- ...\n");
    let back = morse(&["--decode"], "... --- ...\n");
    assert_eq!(back.stdout, b"SOS\n");
}

#[test]
fn an_unknown_option_is_refused() {
    let refused = morse(&["--encode"], "");
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(refused.stderr, b"morse: invalid option '--encode'\n");
}
