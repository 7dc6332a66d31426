//! Writes the table of data/morse.txt as Rust.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=data/morse.txt");
    let text = fs::read_to_string("data/morse.txt").expect("the table");
    let mut table = String::from("pub static TABLE: &[(char, &str)] = &[\n");
    for line in text.lines() {
        let (letter, code) = line.split_once(' ').expect("a letter and its code");
        let letter: char = letter.parse().expect("one letter");
        table += &format!("    ({letter:?}, {code:?}),\n");
    }
    table += "];\n";
    let directory = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&directory).join("table.rs"), table).expect("a file");
}
