//! Reads `docs/json.md` and compares JSON objects with the objects that the page describes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The type of a field; `null` and lists are properties of the [`Field`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldKind {
    Text,
    Id,
    Time,
    Integer,
    Number,
    Boolean,
    Any,
    Object(String),
}

/// A documented field.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    kind: FieldKind,
    is_list: bool,
    is_nullable: bool,
    is_optional: bool,
}

/// The documented objects, and the fields that the compared objects have used.
pub struct JsonPage {
    objects: BTreeMap<String, BTreeMap<String, Field>>,
    /// Fields that had a value other than `null` or an empty list in some compared object.
    used: BTreeSet<(String, String)>,
}

impl JsonPage {
    /// Parses the page.
    pub fn read() -> Self {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, text) = text.split_once("\n## Objects\n").unwrap();
        let mut objects: BTreeMap<String, BTreeMap<String, Field>> = BTreeMap::new();
        let mut name = "";
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("### ") {
                name = heading;
                assert!(
                    objects.insert(name.to_owned(), BTreeMap::new()).is_none(),
                    "`{name}` is described twice"
                );
            } else if let Some(row) = line.strip_prefix("| `") {
                let (field, rest) = row.split_once("` | ").unwrap();
                let field_type = rest.split_once(" | ").unwrap().0;
                let fields = objects.get_mut(name).unwrap();
                let old = fields.insert(field.to_owned(), Field::parse(field_type));
                assert!(old.is_none(), "`{name}.{field}` is described twice");
            }
        }
        for (name, fields) in &objects {
            assert!(!fields.is_empty(), "`{name}` has no fields");
            for (field, Field { kind, .. }) in fields {
                if let FieldKind::Object(of) = kind {
                    assert!(
                        objects.contains_key(of),
                        "`{name}.{field}` has the undescribed type `{of}`"
                    );
                }
            }
        }
        Self {
            objects,
            used: BTreeSet::new(),
        }
    }

    /// Returns the names of all objects.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(String::as_str)
    }

    /// Asserts that a JSON object agrees with the description of the object `name`.
    #[track_caller]
    pub fn check(&mut self, name: &str, value: &Value) {
        let mut fields = value
            .as_object()
            .unwrap_or_else(|| panic!("`{name}` is not an object: {value}"))
            .clone();
        assert_eq!(
            fields.remove("schema"),
            Some(1.into()),
            "`schema` of `{name}`: {value}"
        );
        self.check_fields(name, &Value::Object(fields));
    }

    /// Like [`Self::check`], for several objects; there must be at least one.
    #[track_caller]
    pub fn check_all(&mut self, name: &str, values: &[Value]) {
        assert!(!values.is_empty(), "no `{name}`");
        values.iter().for_each(|value| self.check(name, value));
    }

    #[track_caller]
    fn check_fields(&mut self, name: &str, value: &Value) {
        let object = value
            .as_object()
            .unwrap_or_else(|| panic!("`{name}` is not an object: {value}"));
        let fields = self
            .objects
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` is not described"))
            .clone();
        for key in object.keys() {
            assert!(
                fields.contains_key(key),
                "docs/json.md does not describe `{name}.{key}`: {value}"
            );
        }
        for (key, field) in &fields {
            match object.get(key) {
                None => assert!(field.is_optional, "`{name}.{key}` is missing: {value}"),
                Some(value) => self.check_field(name, key, field, value),
            }
        }
    }

    #[track_caller]
    fn check_field(&mut self, name: &str, key: &str, field: &Field, value: &Value) {
        if value.is_null() {
            assert!(field.is_nullable, "`{name}.{key}` is null");
            return;
        }
        let elements = if field.is_list {
            value
                .as_array()
                .unwrap_or_else(|| panic!("`{name}.{key}` is not a list: {value}"))
                .clone()
        } else {
            vec![value.clone()]
        };
        for element in &elements {
            let text = || {
                element
                    .as_str()
                    .unwrap_or_else(|| panic!("`{name}.{key}` is not a string: {element}"))
            };
            let is_valid = match &field.kind {
                FieldKind::Text => element.is_string(),
                FieldKind::Id => {
                    text().len() == 64 && text().bytes().all(|b| b.is_ascii_hexdigit())
                }
                FieldKind::Time => {
                    text().parse::<jiff::Timestamp>().is_ok() || text().starts_with(['+', '-'])
                }
                FieldKind::Integer => element.is_i64() || element.is_u64(),
                FieldKind::Number => element.is_number(),
                FieldKind::Boolean => element.is_boolean(),
                FieldKind::Any => true,
                FieldKind::Object(of) => {
                    self.check_fields(of, element);
                    true
                }
            };
            assert!(
                is_valid,
                "`{name}.{key}` is not {:?}: {element}",
                field.kind
            );
            self.used.insert((name.to_owned(), key.to_owned()));
        }
    }

    /// Returns the documented fields that no compared object has used, as `object.field`.
    pub fn unused(&self) -> Vec<String> {
        let all = self
            .objects
            .iter()
            .flat_map(|(name, fields)| fields.keys().map(move |field| (name, field)));
        all.filter(|(name, field)| !self.used.contains(&((*name).clone(), (*field).clone())))
            .map(|(name, field)| format!("{name}.{field}"))
            .collect()
    }
}

impl Field {
    /// Parses a type such as `change[]` or `id or null, optional`.
    fn parse(text: &str) -> Self {
        let (text, is_optional) = match text.strip_suffix(", optional") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (text, is_nullable) = match text.strip_suffix(" or null") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (text, is_list) = match text.strip_suffix("[]") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let kind = match text {
            "string" => FieldKind::Text,
            "id" => FieldKind::Id,
            "time" => FieldKind::Time,
            "integer" => FieldKind::Integer,
            "number" => FieldKind::Number,
            "boolean" => FieldKind::Boolean,
            "any" => FieldKind::Any,
            name => FieldKind::Object(name.to_owned()),
        };
        let is_nullable = is_nullable || kind == FieldKind::Any;
        Self {
            kind,
            is_list,
            is_nullable,
            is_optional,
        }
    }
}
