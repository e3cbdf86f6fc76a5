//! Sets or removes one value in a TOML file, and keeps comments and order.

use super::layers::toml_problem;
use super::problem::{ConfigProblem, Origin};
use super::value::SettingValue;
use std::path::Path;
use toml_edit::{Document, DocumentMut, InlineTable, Item, Table, TableLike};

/// Returns the text of the file with `key` set to `value`, or without it if `value` is `None`.
pub(crate) fn edited(
    text: &str,
    key: &str,
    value: Option<&SettingValue>,
    path: &Path,
) -> Result<String, ConfigProblem> {
    let problem = |why: String| ConfigProblem::new(Origin::File(path.to_owned()), why);
    let file =
        Document::parse(text).map_err(|e| problem(toml_problem(text, e.message(), e.span())))?;
    let Some(value) = value else {
        return Ok(without(text, file, key));
    };
    let section = key.split('.').next().unwrap_or(key);
    if file.contains_key(section) {
        let mut file = file.into_mut();
        set(&mut file, key, value).map_err(problem)?;
        return Ok(file.to_string());
    }
    // A new section follows the comments at the end of the file.
    let mut added = DocumentMut::new();
    set(&mut added, key, value).map_err(problem)?;
    let gap = match text {
        "" => "",
        text if text.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    Ok(format!("{text}{gap}{added}"))
}

/// Sets a value. A missing section gets a header; a missing table within a section is written as
/// dotted keys.
fn set(file: &mut DocumentMut, key: &str, value: &SettingValue) -> Result<(), String> {
    let (tables, name) = key
        .rsplit_once('.')
        .ok_or_else(|| format!("`{key}` has no section"))?;
    let mut table: &mut dyn TableLike = file.as_table_mut();
    for (depth, part) in tables.split('.').enumerate() {
        let missing = || {
            if depth == 0 {
                return Item::Table(Table::new());
            }
            let mut dotted = InlineTable::new();
            dotted.set_dotted(true);
            Item::Value(dotted.into())
        };
        let item = table.entry(part).or_insert_with(missing);
        table = item
            .as_table_like_mut()
            .ok_or_else(|| format!("`{part}` is not a table"))?;
    }
    let mut value = value.to_toml();
    let item = table.entry(name).or_insert(Item::None);
    if let Some(old) = item.as_value() {
        // Keep the spaces and the comment around the old value.
        value.decor_mut().clone_from(old.decor());
    }
    *item = Item::Value(value);
    Ok(())
}

/// Returns the text without a value.
fn without(text: &str, file: Document<&str>, key: &str) -> String {
    let (mut item, mut inline) = (file.as_item(), false);
    for part in key.split('.') {
        inline |= item.is_inline_table();
        let Some(next) = item.get(part) else {
            return text.to_owned();
        };
        item = next;
    }
    let Some(span) = item.as_value().and_then(toml_edit::Value::span) else {
        return text.to_owned();
    };
    // Other values may be on the same line.
    if inline {
        let mut file = file.into_mut();
        remove(file.as_table_mut(), key);
        return file.to_string();
    }
    // `Table::remove` would also remove the comment lines above the value.
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[span.end..]
        .find('\n')
        .map_or(text.len(), |at| span.end + at + 1);
    [&text[..start], &text[end..]].concat()
}

fn remove(table: &mut dyn TableLike, key: &str) {
    match key.split_once('.') {
        None => _ = table.remove(key),
        Some((part, rest)) => {
            if let Some(inner) = table.get_mut(part).and_then(Item::as_table_like_mut) {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "# mine\n[core]\njobs = 2 # two\n\n[commit]\nexclude = [\n  \"a\",\n  \"b\",\n]\n";

    fn run(text: &str, key: &str, value: Option<SettingValue>) -> String {
        edited(text, key, value.as_ref(), Path::new("config.toml"))
            .map_err(|p| p.to_string())
            .unwrap()
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
        assert_eq!(
            run(FILE, "commit.exclude", None),
            "# mine\n[core]\njobs = 2 # two\n\n[commit]\n"
        );
        assert_eq!(
            run("", "ui.color", Some(SettingValue::Text("never".to_owned()))),
            "[ui]\ncolor = \"never\"\n"
        );
        assert_eq!(run(FILE, "ui.color", None), FILE);
    }

    #[test]
    fn comments_stay_with_their_lines() {
        let text = "# mine\n\n[core]\n# two jobs\njobs = 2 # not more\n# the end\n";
        let color = Some(SettingValue::Text("never".to_owned()));
        for (key, value, expected) in [
            (
                "core.jobs",
                Some(SettingValue::Number(3)),
                text.replace("= 2", "= 3"),
            ),
            ("core.jobs", None, text.replace("jobs = 2 # not more\n", "")),
            (
                "core.memory",
                Some(SettingValue::Number(7)),
                text.replace("# the", "memory = 7\n# the"),
            ),
            (
                "ui.color",
                color.clone(),
                format!("{text}\n[ui]\ncolor = \"never\"\n"),
            ),
        ] {
            assert_eq!(run(text, key, value), expected, "{key}");
        }
        assert_eq!(
            run("# mine", "ui.color", color),
            "# mine\n\n[ui]\ncolor = \"never\"\n"
        );
    }

    #[test]
    fn any_layout_can_be_edited() {
        for (text, set, unset) in [
            (
                "core = { jobs = 2 }\n",
                "core = { jobs = 3 }\n",
                "core = {}\n",
            ),
            (
                "core = { jobs = 2, memory = 7 }\n",
                "core = { jobs = 3, memory = 7 }\n",
                "core = { memory = 7 }\n",
            ),
            (
                "core.jobs = 2\nui.pager = 'x'\n",
                "core.jobs = 3\nui.pager = 'x'\n",
                "ui.pager = 'x'\n",
            ),
            (
                "[ core ]\n\"jobs\"=2",
                "[ core ]\n\"jobs\"=3\n",
                "[ core ]\n",
            ),
            (
                "[ui]\n[core]\n  jobs = 2\n\n[a]\n",
                "[ui]\n[core]\n  jobs = 3\n\n[a]\n",
                "[ui]\n[core]\n\n[a]\n",
            ),
            (
                "core.memory = 7\n",
                "core.memory = 7\ncore.jobs = 3\n",
                "core.memory = 7\n",
            ),
        ] {
            assert_eq!(run(text, "core.jobs", Some(SettingValue::Number(3))), set);
            assert_eq!(run(text, "core.jobs", None), unset);
        }
    }

    #[test]
    fn remotes_are_dotted_keys_of_their_section() {
        let url = || Some(SettingValue::Text("/r".to_owned()));
        let mut text = run("", "remote.origin.url", url());
        assert_eq!(text, "[remote]\norigin.url = \"/r\"\n");
        text = run(&text, "remote.origin.lazy", Some(SettingValue::Bool(true)));
        text = run(&text, "remote.a b.url", url());
        assert_eq!(
            text,
            "[remote]\norigin.url = \"/r\"\norigin.lazy = true\n\"a b\".url = \"/r\"\n"
        );
        text = run(&text, "remote.origin.url", None);
        assert_eq!(text, "[remote]\norigin.lazy = true\n\"a b\".url = \"/r\"\n");
        let header = "[remote.origin]\nurl = \"/s\"\n";
        assert_eq!(
            run(header, "remote.origin.url", url()),
            header.replace("/s", "/r")
        );
        assert_eq!(run(header, "remote.origin.url", None), "[remote.origin]\n");
    }

    #[test]
    fn a_file_that_is_not_understood_is_left_alone() {
        for text in ["core = [", "core = 3\n", "[[core]]\njobs = 2\n"] {
            assert!(
                edited(
                    text,
                    "core.jobs",
                    Some(&SettingValue::Number(3)),
                    Path::new("c")
                )
                .is_err(),
                "{text}"
            );
        }
        assert!(edited("core = [", "core.jobs", None, Path::new("c")).is_err());
    }
}
