use std::io::{self, Read, Write};

fn main() {
    let mut given = String::new();
    io::stdin().read_to_string(&mut given).unwrap();
    let mut out = io::stdout();
    out.write_all(b"hello ").unwrap();
    out.write_all(given.as_bytes()).unwrap();
    out.write_all(b"\xff\n").unwrap();
    eprintln!("said apart");
    std::process::exit(7);
}
