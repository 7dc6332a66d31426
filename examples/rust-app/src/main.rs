use std::{io, process::ExitCode};

use lexopt::Arg;

fn decoding() -> Result<bool, lexopt::Error> {
    let mut decoding = false;
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next()? {
        match word {
            Arg::Short('d') | Arg::Long("decode") => decoding = true,
            _ => return Err(word.unexpected()),
        }
    }
    Ok(decoding)
}

fn run() -> Result<String, String> {
    let decoding = decoding().map_err(|error| error.to_string())?;
    let text = io::read_to_string(io::stdin()).map_err(|error| error.to_string())?;
    if decoding {
        morse::decode(&text).map_err(|code| format!("no letter has the code {code}"))
    } else {
        morse::encode(&text).map_err(|letter| format!("{letter:?} has no code"))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("morse: {problem}");
            ExitCode::FAILURE
        }
    }
}
