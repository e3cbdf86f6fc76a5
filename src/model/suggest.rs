//! Suggestions for misspelled words ("did you mean").

use strsim::osa_distance;

/// Returns the candidate nearest to `word`, if it is near enough to be a plausible correction.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Allow one edit per three characters.
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (osa_distance(word, c), c))
        // A part of a name, such as `jobs` of `core.jobs`, is a plausible abbreviation.
        .filter(|(d, c)| *d <= limit || (word.len() >= 3 && c.contains(word)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        let known = ["core.jobs", "core.memory", "user.name"];
        assert_eq!(nearest("core.job", known), Some("core.jobs"));
        assert_eq!(nearest("usre.name", known), Some("user.name"));
        assert_eq!(nearest("jobs", known), Some("core.jobs"));
        assert_eq!(nearest("banana", known), None);
        assert_eq!(nearest("", known), None);
    }
}
