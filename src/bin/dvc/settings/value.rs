//! Types and values of settings. Booleans and durations are parsed here, sizes in the library.

use std::fmt;
use std::time::Duration;

/// The type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingType {
    /// Any text without line breaks and zero bytes.
    Text,
    /// `Name <email>`.
    Author,
    /// `true` or `false`.
    Bool,
    /// A size in bytes: `256M`.
    Size {
        /// The smallest valid value.
        min: u64,
    },
    /// A whole number, at least 1.
    Count,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several texts.
    List,
    /// A program and its arguments, as a text separated by spaces or as a list.
    Command,
    /// A duration in seconds: `30s`, `10m`.
    Duration,
    /// A path.
    Path,
}

/// The parsed value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SettingValue {
    /// Text, an author, a choice or a path.
    Text(String),
    /// A switch.
    Bool(bool),
    /// Bytes, seconds or a count.
    Number(u64),
    /// Several texts.
    List(Vec<String>),
}

impl SettingType {
    /// Parses a value from an environment variable or the command line. A list is separated by
    /// commas, a command by spaces.
    pub(crate) fn parse(self, text: &str) -> Result<SettingValue, String> {
        match self {
            Self::Bool => bool(text).map(SettingValue::Bool),
            Self::Size { min } => at_least(min, dvc::model::size::parse(text)?),
            Self::Count => match text.parse() {
                Ok(n) if n > 0 => Ok(SettingValue::Number(n)),
                _ => Err(format!(
                    "invalid number `{text}`: expected a whole number of at least 1"
                )),
            },
            Self::Choice(words) if words.contains(&text) => Ok(SettingValue::Text(text.to_owned())),
            Self::Choice(words) => Err(format!(
                "invalid value `{text}`: expected one of {}",
                words.join(", ")
            )),
            Self::List => Ok(SettingValue::List(
                text.split(',')
                    .filter(|t| !t.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
            Self::Command => Ok(SettingValue::List(
                text.split_whitespace().map(str::to_owned).collect(),
            )),
            Self::Duration => duration(text).map(|d| SettingValue::Number(d.as_secs())),
            Self::Author => author(text).map(SettingValue::Text),
            Self::Path if text.is_empty() => Err("the path is empty".to_owned()),
            Self::Text | Self::Path if text.contains(['\n', '\0']) => {
                Err("the value contains a line break or a zero byte".to_owned())
            }
            Self::Text | Self::Path => Ok(SettingValue::Text(text.to_owned())),
        }
    }

    /// Converts a value from a configuration file.
    pub(crate) fn read_toml(self, value: &toml_edit::Value) -> Result<SettingValue, String> {
        match (self, value) {
            (Self::Bool, toml_edit::Value::Boolean(b)) => Ok(SettingValue::Bool(*b.value())),
            (Self::Size { min }, toml_edit::Value::Integer(n)) => at_least(
                min,
                u64::try_from(*n.value()).map_err(|_| format!("`{}` is negative", n.value()))?,
            ),
            (Self::Count | Self::Duration, toml_edit::Value::Integer(n)) => {
                self.parse(&n.value().to_string())
            }
            (Self::List | Self::Command, toml_edit::Value::Array(items)) => items
                .iter()
                .map(|i| {
                    i.as_str()
                        .map(str::to_owned)
                        .ok_or_else(|| format!("`{}` is not a string", on_one_line(i)))
                })
                .collect::<Result<_, _>>()
                .map(SettingValue::List),
            // Do not split a string at commas, because a settings file can contain a real list.
            (Self::List, toml_edit::Value::String(text)) => {
                Ok(SettingValue::List(vec![text.value().clone()]))
            }
            (_, toml_edit::Value::String(text)) => self.parse(text.value()),
            (_, other) => Err(format!(
                "invalid value `{}`: expected {}",
                on_one_line(other),
                self.description()
            )),
        }
    }

    /// Returns a description of the type, for messages and the manual.
    pub(crate) fn description(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Author => "`Name <email>`".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Size { .. } => "a size such as `256M`".to_owned(),
            Self::Count => "a whole number of at least 1".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::List => "a list of strings".to_owned(),
            Self::Command => "a program with its arguments, as text or as a list".to_owned(),
            Self::Duration => "a duration such as `30s` or `2h`".to_owned(),
            Self::Path => "a path".to_owned(),
        }
    }
}

impl SettingValue {
    /// Returns the value for a configuration file.
    pub(crate) fn to_toml(&self) -> toml_edit::Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Bool(b) => (*b).into(),
            // Integers in TOML are signed.
            Self::Number(n) => i64::try_from(*n).map_or_else(|_| n.to_string().into(), Into::into),
            Self::List(items) => items.iter().collect(),
        }
    }

    /// Returns the value in JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Bool(b) => (*b).into(),
            Self::Number(n) => (*n).into(),
            Self::List(items) => items.clone().into(),
        }
    }
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Number(n) => write!(f, "{n}"),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

/// Returns a value as the file has it, without the spaces and line breaks around its parts.
fn on_one_line(value: &toml_edit::Value) -> String {
    value
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn at_least(min: u64, n: u64) -> Result<SettingValue, String> {
    if n < min {
        Err(format!("{n} bytes are less than the minimum of {min}"))
    } else {
        Ok(SettingValue::Number(n))
    }
}

/// Parses `true`, `yes`, `on`, `1` and their opposites.
pub(crate) fn bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("invalid value `{text}`: expected true or false")),
    }
}

/// Parses a duration: `90` (seconds), `30s`, `10m` or `10min`, `2h`, `1d`, `1w`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid duration `{text}`: expected a duration such as `30s` or `2h`");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

/// Parses `Name <email>` on one line.
pub(crate) fn author(text: &str) -> Result<String, String> {
    let (name, mail) = text
        .strip_suffix('>')
        .and_then(|t| t.split_once('<'))
        .ok_or_else(|| format!("invalid author `{text}`: expected `Name <email>`"))?;
    if name.trim().is_empty() || mail.contains(['<', '>']) || text.chars().any(char::is_control) {
        return Err(format!(
            "invalid author `{}`: expected `Name <email>`",
            text.escape_debug()
        ));
    }
    Ok(format!("{} <{}>", name.trim(), mail.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("h").is_err());
        assert!(duration("99999999999999999999d").is_err());
    }

    #[test]
    fn authors() {
        assert_eq!(
            author("Ann  <ann@example.org>"),
            Ok("Ann <ann@example.org>".to_owned())
        );
        assert!(author("Ann").is_err());
        assert!(author("<a@b>").is_err());
        assert!(author("A\nB <a@b>").is_err());
    }
}
