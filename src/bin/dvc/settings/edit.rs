//! Sets or removes one value in a TOML file, and keeps comments and order.
//!
//! The edit works on lines and is then verified: the result must parse to the old document with
//! only this change. Otherwise the file stays unchanged.

use super::layers::{document, flatten};
use super::problem::{ConfigProblem, Origin};
use super::value::SettingValue;
use std::path::Path;

/// Returns the text of the file with `key` set to `value`, or without it if `value` is `None`.
pub(crate) fn edited(
    text: &str,
    key: &str,
    value: Option<&SettingValue>,
    path: &Path,
) -> Result<String, ConfigProblem> {
    let before = document(text, path)?;
    let (section, name) = key.split_once('.').unwrap_or(("", key));
    let mut lines: Vec<&str> = text.lines().collect();
    let line = value.map(|v| format!("{name} = {}", v.to_toml()));
    let old = locate(&lines, section, name);
    let fresh;
    match (&old, &line) {
        (Some(at), Some(line)) => {
            lines.splice(at.clone(), [line.as_str()]);
        }
        (Some(at), None) => {
            lines.drain(at.clone());
        }
        (None, None) => {}
        (None, Some(line)) => match section_end(&lines, section) {
            Some(at) => lines.insert(at, line),
            None => {
                fresh = format!("{}[{section}]\n{line}", if lines.is_empty() { "" } else { "\n" });
                lines.push(&fresh);
            }
        },
    }
    let mut after = lines.join("\n");
    if !after.is_empty() {
        after.push('\n');
    }
    let wanted = |document: &toml::Table| {
        let mut values: Vec<_> = flatten(document).into_iter().filter(|(n, _)| n != key).collect();
        values.extend(value.map(|v| (key.to_owned(), v.to_toml())));
        values.sort_by(|a, b| a.0.cmp(&b.0));
        values
    };
    let mut got = after.parse().map(|d| flatten(&d)).unwrap_or_default();
    got.sort_by(|a: &(String, toml::Value), b| a.0.cmp(&b.0));
    if got == wanted(&before) {
        return Ok(after);
    }
    let text = format!("the layout around `{key}` is unusual; change it with an editor");
    Err(ConfigProblem::new(Origin::File(path.to_owned()), text))
}

/// Returns the section that a line starts.
fn header(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or("").trim();
    Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
}

/// Returns the lines of the value; a list may take more than one.
fn locate(lines: &[&str], section: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let mut current = "";
    for (i, line) in lines.iter().enumerate() {
        if let Some(opened) = header(line) {
            current = opened;
            continue;
        }
        let Some((left, _)) = line.split_once('=') else { continue };
        if current == section && left.trim() == name {
            let whole = (i + 1..=lines.len()).find(|end| lines[i..*end].join("\n").parse::<toml::Table>().is_ok());
            return Some(i..whole.unwrap_or(i + 1));
        }
    }
    None
}

/// Returns the line after the last value of the section.
fn section_end(lines: &[&str], section: &str) -> Option<usize> {
    let start = lines.iter().position(|l| header(l) == Some(section))?;
    let next = lines[start + 1..].iter().position(|l| header(l).is_some()).map_or(lines.len(), |n| start + 1 + n);
    let filled = lines[start..next].iter().rposition(|l| !l.trim().is_empty()).unwrap_or(0);
    Some(start + filled + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[core]\njobs = 2 # two\n\n[commit]\nexclude = [\n  \"a\",\n  \"b\",\n]\n";

    fn run(text: &str, key: &str, value: Option<SettingValue>) -> String {
        edited(text, key, value.as_ref(), Path::new("config.toml")).map_err(|p| p.to_string()).unwrap()
    }

    #[test]
    fn comments_and_order_stay() {
        insta::assert_snapshot!(run(FILE, "core.memory", Some(SettingValue::Number(7))), @r#"
        # mine
        [core]
        jobs = 2 # two
        memory = 7

        [commit]
        exclude = [
          "a",
          "b",
        ]
        "#);
        let list = SettingValue::List(vec!["c\"".to_owned()]);
        assert!(run(FILE, "commit.exclude", Some(list)).ends_with("[commit]\nexclude = ['c\"']\n"));
        assert_eq!(run(FILE, "commit.exclude", None), "# mine\n[core]\njobs = 2 # two\n\n[commit]\n");
        assert_eq!(run("", "ui.color", Some(SettingValue::Text("never".to_owned()))), "[ui]\ncolor = \"never\"\n");
        assert_eq!(run(FILE, "ui.color", None), FILE);
    }

    #[test]
    fn an_unusual_layout_is_left_alone() {
        let text = "core = { jobs = 2 }\n";
        assert!(edited(text, "core.jobs", Some(&SettingValue::Number(3)), Path::new("c")).is_err());
        assert!(edited("core = [", "core.jobs", None, Path::new("c")).is_err());
    }
}
