//! Counts words, as Unicode divides a text into them.

use std::collections::HashMap;
use unicode_segmentation::UnicodeSegmentation;

/// How often each word of a text stands in it, without regard to case.
pub fn counted(text: &str) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for word in text.unicode_words() {
        *found.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    found
}

/// What Python imports.
#[cfg(feature = "python")]
#[pyo3::pymodule]
mod native {
    use std::collections::HashMap;

    #[pyo3::pyfunction]
    fn counted(text: &str) -> HashMap<String, usize> {
        super::counted(text)
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn words_are_counted_in_any_case() {
        let found = counted("The end? Not the END.");
        assert_eq!((found["the"], found["end"], found["not"]), (2, 2, 1));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn a_text_need_not_be_ascii() {
        assert_eq!(counted("Été, l'été")["été"], 1);
        assert_eq!(counted("—"), Default::default());
    }
}
