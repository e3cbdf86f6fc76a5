//! Suggestions for misspelled words ("did you mean").

/// Returns the candidate nearest to `word`, if it is near enough to be a plausible correction.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Allow one edit per three characters.
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|c| (distance(word, c), c))
        // A part of a name, such as `jobs` of `core.jobs`, is a plausible abbreviation.
        .filter(|(d, c)| *d <= limit || (word.len() >= 3 && c.contains(word)))
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Returns the number of edits (insertion, deletion, replacement, transposition) that turn `a` into
/// `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // The distance is the optimal string alignment, for which three rows of the matrix suffice.
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
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
