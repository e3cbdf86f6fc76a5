//! The tier rule: a module may import only modules of lower tiers.
//!
//! In: the diagram in the header of `src/lib.rs`, one line per tier. Out: each import from the same
//! or a higher tier.

use std::collections::BTreeMap;

use crate::scan::Source;

/// The tier of each module.
pub struct Tiers(BTreeMap<String, u32>);

impl Tiers {
    /// Parses the first `text` block of a header. Each line is `N name name ...`, where N is the
    /// tier.
    pub fn parse(header: &str) -> Result<Self, String> {
        let mut map = BTreeMap::new();
        let lines = header
            .lines()
            .skip_while(|l| *l != "//! ```text")
            .skip(1)
            .take_while(|l| *l != "//! ```");
        for line in lines {
            let mut words = line.trim_start_matches("//!").split_whitespace();
            let tier = words
                .next()
                .and_then(|w| w.parse().ok())
                .ok_or(format!("no tier number in `{line}`"))?;
            for name in words {
                if map.insert(name.to_owned(), tier).is_some() {
                    return Err(format!("`{name}` stands twice in the diagram"));
                }
            }
        }
        if map.is_empty() {
            Err("src/lib.rs has no tier diagram".to_owned())
        } else {
            Ok(Self(map))
        }
    }

    /// Returns the differences between the diagram and the `mod` items of the crate root.
    pub fn undeclared(&self, root: &Source) -> Vec<String> {
        let mut left = self.0.clone();
        let mut out = Vec::new();
        for (i, t) in root.tokens.iter().enumerate() {
            if t.text == "mod" && left.remove(root.text_at(i + 1)).is_none() {
                out.push(format!(
                    "{}:{}: module `{}` is not in the diagram",
                    root.name,
                    t.line,
                    root.text_at(i + 1)
                ));
            }
        }
        out.extend(
            left.keys()
                .map(|m| format!("{}:1: `{m}` is in the diagram only", root.name)),
        );
        out
    }

    /// Returns the imports of `s` from the same or a higher tier.
    pub fn breaches(&self, s: &Source) -> Vec<String> {
        let module = s.module();
        let Some(own) = module.first() else {
            return Vec::new();
        };
        let Some(tier) = self.0.get(own) else {
            return vec![format!(
                "{}:1: module `{own}` is not in the diagram of src/lib.rs",
                s.name
            )];
        };
        let mut out = Vec::new();
        for path in s.paths() {
            let Some(target) = absolute(&module, &path.parts, s.is_test(path.line)) else {
                continue;
            };
            if target == *own {
                continue;
            }
            match self.0.get(&target) {
                None => out.push(format!("{}:{}: `crate::{target}` is no module", s.name, path.line)),
                Some(t) if t >= tier => out.push(format!(
                    "{}:{}: `{own}` (tier {tier}) imports `{target}` (tier {t}); only lower tiers may be imported",
                    s.name, path.line
                )),
                Some(_) => {}
            }
        }
        out
    }
}

/// Returns the top-level module of a path, if the path belongs to this crate. In an inline test
/// module, `super` has one more level.
fn absolute(module: &[String], parts: &[String], in_test: bool) -> Option<String> {
    match parts.first()?.as_str() {
        "crate" => parts.get(1).cloned(),
        "super" => {
            let ups = parts.iter().take_while(|p| *p == "super").count();
            let depth = module.len() + usize::from(in_test);
            match depth.checked_sub(ups) {
                Some(0) => parts.get(ups).cloned(),
                Some(_) => module.first().cloned(),
                None => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(name: &str, text: &str) -> Vec<String> {
        let tiers =
            Tiers::parse("//! ```text\n//! 0 low\n//! 1 mid  side\n//! 2 top\n//! ```\n").unwrap();
        tiers.breaches(&Source::new(name, text))
    }

    #[test]
    fn down_is_fine() {
        assert!(
            breaches(
                "src/top/a.rs",
                "use crate::{low, mid::x};\nuse super::b;\nuse crate::top::c;"
            )
            .is_empty()
        );
        assert!(
            breaches(
                "src/low.rs",
                "// use crate::top;\nconst A: &str = \"crate::top::x\";"
            )
            .is_empty()
        );
    }

    #[test]
    fn sideways_and_up_are_named_with_their_line() {
        let found = breaches(
            "src/mid/a.rs",
            "\nuse crate::{low::x,\n side::y};\nfn f() { crate::top::z() }\n",
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("src/mid/a.rs:3: "), "{found:?}");
        assert!(
            found[1].starts_with("src/mid/a.rs:4: ") && found[1].contains("`top` (tier 2)"),
            "{found:?}"
        );
        assert_eq!(breaches("src/mid/mod.rs", "use super::side;").len(), 1);
        assert_eq!(
            breaches(
                "src/mid/a.rs",
                "#[cfg(test)]\nmod t { use super::super::super::top; }"
            )
            .len(),
            1
        );
        assert_eq!(breaches("src/mid/a.rs", "use crate::Thing;").len(), 1);
        assert_eq!(breaches("src/new/a.rs", "").len(), 1);
    }

    #[test]
    fn the_diagram_is_complete() {
        let text = "//! ```text\n//! 0 a\n//! 1 b\n//! ```\npub mod a;\npub mod c;\n";
        let found = Tiers::parse(text)
            .unwrap()
            .undeclared(&Source::new("src/lib.rs", text));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(Tiers::parse("//! nothing").is_err());
        assert!(Tiers::parse("//! ```text\n//! 0 a a\n//! ```").is_err());
    }
}
