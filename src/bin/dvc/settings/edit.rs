//! Sets and unsets one value in a TOML file without touching its comments and order.
//!
//! The edit is made on lines and then proved: the result must parse to the old document with just that change,
//! else the file is left alone.

use super::layers::{document, flatten};
use super::value::Value;
use super::{Origin, Problem};
use std::path::Path;

/// The file's text with `key` set to `value`, or without it where `value` is `None`.
pub(crate) fn edited(text: &str, key: &str, value: Option<&Value>, path: &Path) -> Result<String, Problem> {
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
    let text = format!("`{key}` stands there in a way that only an editor can change");
    Err(Problem::new(Origin::File(path.to_owned()), text))
}

/// The section that a line opens.
fn header(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or("").trim();
    Some(line.strip_prefix('[')?.strip_suffix(']')?.trim())
}

/// The lines that hold the value, more than one where it is a list.
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

/// Behind the last value of the section.
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

    fn run(text: &str, key: &str, value: Option<Value>) -> String {
        edited(text, key, value.as_ref(), Path::new("config.toml")).map_err(|p| p.to_string()).unwrap()
    }

    #[test]
    fn comments_and_order_stay() {
        insta::assert_snapshot!(run(FILE, "core.memory", Some(Value::Number(7))), @r#"
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
        let list = Value::List(vec!["c\"".to_owned()]);
        assert!(run(FILE, "commit.exclude", Some(list)).ends_with("[commit]\nexclude = ['c\"']\n"));
        assert_eq!(run(FILE, "commit.exclude", None), "# mine\n[core]\njobs = 2 # two\n\n[commit]\n");
        assert_eq!(run("", "ui.color", Some(Value::Text("never".to_owned()))), "[ui]\ncolor = \"never\"\n");
        assert_eq!(run(FILE, "ui.color", None), FILE);
    }

    #[test]
    fn an_unusual_layout_is_left_alone() {
        let text = "core = { jobs = 2 }\n";
        assert!(edited(text, "core.jobs", Some(&Value::Number(3)), Path::new("c")).is_err());
        assert!(edited("core = [", "core.jobs", None, Path::new("c")).is_err());
    }
}
