//! The settings of retention policies: `retention.NAME.branches`, and `retention.NAME.RULE` for
//! each rule, such as `retention.nightly.daily = 7`.

use super::problem::Origin;
use super::value::{SettingType, SettingValue};
use dvc::model::retention::{RetentionPolicy, RetentionRule};
use std::fmt;

/// The section in the configuration.
const PREFIX: &str = "retention.";
/// The setting with the patterns of branches.
const BRANCHES: &str = "branches";
/// The name that selects all policies on the command line.
pub(crate) const ALL: &str = "all";

/// The rules, in the order in which messages name them.
pub(crate) const RULES: [&str; 12] = [
    "last",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "within",
    "within-hourly",
    "within-daily",
    "within-weekly",
    "within-monthly",
    "within-yearly",
];

/// The description of these settings for the manual.
pub(crate) const HELP: &str = "
  retention.NAME.branches
      patterns of the branches that the policy NAME is for (a list of texts, default *)
  retention.NAME.last, .hourly, .daily, .weekly, .monthly, .yearly
      how many versions the policy keeps (a number, or `unlimited`)
  retention.NAME.within, .within-hourly, .within-daily, .within-weekly, .within-monthly, .within-yearly
      how long the policy keeps versions (a duration such as `1y5m7d2h`)";

/// The name of a setting of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetentionKey<'k> {
    /// The name of the policy.
    pub(crate) policy: &'k str,
    /// `branches`, or the name of a rule.
    pub(crate) option: &'k str,
}

impl<'k> RetentionKey<'k> {
    /// Parses the name of a setting; `None` if the setting belongs to no policy.
    pub(crate) fn parse(name: &'k str) -> Option<Result<Self, String>> {
        let rest = name.strip_prefix(PREFIX)?;
        let Some((policy, option)) = rest.rsplit_once('.') else {
            return Some(Err(format!(
                "unknown setting `{name}`: expected `{PREFIX}NAME.RULE`, such as `{PREFIX}NAME.daily`"
            )));
        };
        let is_plain = !policy.is_empty()
            && policy
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !is_plain {
            return Some(Err(format!(
                "invalid policy name `{policy}`: use letters, digits, `-` and `_`"
            )));
        }
        if policy == ALL {
            return Some(Err(format!(
                "invalid policy name `{ALL}`: `--policy {ALL}` means every policy"
            )));
        }
        if option != BRANCHES && !RULES.contains(&option) {
            return Some(Err(format!(
                "unknown setting `{name}`: expected one of `branches`, `{}`",
                RULES.join("`, `")
            )));
        }
        Some(Ok(Self { policy, option }))
    }

    /// Parses a value from the command line.
    pub(crate) fn parse_value(&self, text: &str) -> Result<SettingValue, String> {
        if self.option == BRANCHES {
            return SettingType::List.parse(text);
        }
        RetentionRule::parse(self.option, text).map_err(|e| e.to_string())?;
        Ok(text.parse().map_or_else(
            |_| SettingValue::Text(text.to_owned()),
            SettingValue::Number,
        ))
    }

    /// Converts a value from a configuration file.
    pub(crate) fn read_toml(&self, value: &toml_edit::Value) -> Result<SettingValue, String> {
        match value {
            value if self.option == BRANCHES => SettingType::List.read_toml(value),
            toml_edit::Value::Integer(number) => self.parse_value(&number.value().to_string()),
            toml_edit::Value::String(text) => self.parse_value(text.value()),
            _ => Err("the value is neither a number nor a string".to_owned()),
        }
    }
}

impl fmt::Display for RetentionKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}", self.policy, self.option)
    }
}

/// The settings of one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RetentionEntry {
    values: Vec<(String, SettingValue, Origin)>,
}

impl RetentionEntry {
    /// Sets a value; a later layer wins.
    pub(super) fn set(&mut self, option: &str, value: SettingValue, origin: Origin) {
        self.values.retain(|(known, ..)| known != option);
        self.values.push((option.to_owned(), value, origin));
        let place = |option: &str| RULES.iter().position(|rule| *rule == option);
        self.values.sort_by_key(|(option, ..)| place(option));
    }

    /// Returns all values, the patterns of branches first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SettingValue, &Origin)> {
        self.values
            .iter()
            .map(|(option, value, origin)| (option.as_str(), value, origin))
    }

    /// Returns the patterns of branches; all branches if none is set.
    pub(crate) fn branches(&self) -> Vec<String> {
        let set = self
            .values
            .iter()
            .find_map(|(option, value, _)| match value {
                SettingValue::List(patterns) if option == BRANCHES => Some(patterns.clone()),
                _ => None,
            });
        set.unwrap_or_else(|| vec!["*".to_owned()])
    }

    /// Returns the rules of the policy, without its branches.
    pub(crate) fn policy(&self) -> RetentionPolicy {
        let rules = self.values.iter().filter(|(option, ..)| option != BRANCHES);
        RetentionPolicy {
            rules: rules
                // Each value was validated when it was read.
                .filter_map(|(option, value, _)| {
                    RetentionRule::parse(option, &value.to_string()).ok()
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values() {
        let key = |name| RetentionKey::parse(name).unwrap();
        assert_eq!(RetentionKey::parse("gc.grace"), None);
        let daily = key("retention.nightly.daily").unwrap();
        assert_eq!((daily.policy, daily.option), ("nightly", "daily"));
        assert_eq!(daily.parse_value("7"), Ok(SettingValue::Number(7)));
        assert_eq!(
            daily.parse_value("unlimited"),
            Ok(SettingValue::Text("unlimited".to_owned()))
        );
        assert!(daily.parse_value("often").unwrap_err().contains("often"));
        assert!(
            key("retention.x.within-daily")
                .unwrap()
                .parse_value("1m7d")
                .is_ok()
        );
        for bad in [
            "retention.daily",
            "retention..daily",
            "retention.a b.daily",
            "retention.all.daily",
            "retention.x.dayly",
        ] {
            assert!(RetentionKey::parse(bad).unwrap().is_err(), "{bad}");
        }
    }

    #[test]
    fn rules_have_one_order() {
        let mut entry = RetentionEntry::default();
        for (option, value) in [("weekly", 4), ("last", 1), ("daily", 5), ("daily", 7)] {
            entry.set(option, SettingValue::Number(value), Origin::BuiltIn);
        }
        let rules: Vec<String> = entry
            .policy()
            .rules
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(rules, ["keep-last 1", "keep-daily 7", "keep-weekly 4"]);
        assert_eq!(entry.branches(), ["*"]);
        entry.set(
            BRANCHES,
            SettingValue::List(vec!["a*".to_owned()]),
            Origin::BuiltIn,
        );
        assert_eq!(entry.branches(), ["a*"]);
        assert_eq!(entry.iter().next().unwrap().0, BRANCHES);
        assert_eq!(entry.policy().rules.len(), 3);
    }
}
