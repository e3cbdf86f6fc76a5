//! Patterns for names: `*` matches any characters, `?` matches one.

/// Returns whether a name matches a pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last `*`, and the end of its match.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(c), _) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            // No match here, so the last `*` takes one more character. Earlier ones need no other
            // try, so the time is at most the product of both lengths.
            (_, Some((at, end))) => {
                star = Some((at, end + 1));
                p = at + 1;
                n = end + 1;
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "cust/acme", true),
            ("cust/*", "cust/acme", true),
            ("cust/*", "cust", false),
            ("*acme", "cust/acme", true),
            ("*a*e", "abcabe", true),
            ("*a*e", "abcab", false),
            ("m??n", "main", true),
            ("m?n", "main", false),
            ("main", "main", true),
            ("main", "mainx", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
