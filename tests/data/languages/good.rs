use std::io::{self, Read, Write};
use std::process::Command;
use std::time::Duration;

fn main() {
    let mut out = io::stdout();
    if std::env::args().nth(1).as_deref() == Some("slow") {
        Command::new("setsid").args(["sleep", "1000"]).spawn().unwrap();
        println!("started");
        std::thread::sleep(Duration::from_secs(1000));
    }
    let mut given = String::new();
    io::stdin().read_to_string(&mut given).unwrap();
    out.write_all(b"hello ").unwrap();
    out.write_all(given.as_bytes()).unwrap();
    out.write_all(b"\xff\n").unwrap();
    out.write_all(&vec![b'x'; 100_000_000]).unwrap();
    out.write_all(b"\n").unwrap();
    eprintln!("said apart");
    std::process::exit(7);
}
