//! International Morse code.

use fnv::FnvHashMap;

include!(concat!(env!("OUT_DIR"), "/table.rs"));

/// Letters one space apart, words by a slash; `Err` is the first character without a code.
pub fn encode(text: &str) -> Result<String, char> {
    let codes: FnvHashMap<char, &str> = TABLE.iter().copied().collect();
    let word = |word: &str| -> Result<String, char> {
        let letters = word.chars().flat_map(char::to_uppercase);
        let found: Result<Vec<&str>, char> = letters
            .map(|letter| codes.get(&letter).copied().ok_or(letter))
            .collect();
        Ok(found?.join(" "))
    };
    let words: Result<Vec<String>, char> = text.split_whitespace().map(word).collect();
    Ok(words?.join(" / "))
}

/// The text of what `encode` wrote; `Err` is the first code without a letter.
pub fn decode(code: &str) -> Result<String, &str> {
    let letters: FnvHashMap<&str, char> = TABLE.iter().map(|&(letter, code)| (code, letter)).collect();
    code.split_whitespace()
        .map(|code| match code {
            "/" => Ok(' '),
            _ => letters.get(code).copied().ok_or(code),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_letter_comes_back() {
        let all: String = TABLE.iter().map(|&(letter, _)| letter).collect();
        assert_eq!(all.len(), 36);
        assert_eq!(decode(&encode(&all).unwrap()), Ok(all));
    }

    #[test]
    fn words_are_kept_apart() {
        assert_eq!(encode("so  so").unwrap(), "... --- / ... ---");
        assert_eq!(decode("... --- / ... ---"), Ok("SO SO".into()));
    }

    #[test]
    fn what_has_no_code_is_named() {
        assert_eq!(encode("a!"), Err('!'));
        assert_eq!(decode(".- ......."), Err("......."));
    }
}
