//! Parses the challenge of a registry: the header `WWW-Authenticate` of RFC 9110.

/// An authentication scheme that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password in every request.
    Basic,
    /// A token from a token server.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Service for which the token is valid.
        service: Option<String>,
        /// Scope of the token.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Returns the preferred scheme of the offered ones: bearer tokens before passwords.
    pub(super) fn parse(headers: &[&str]) -> Option<Self> {
        let offered: Vec<(String, Parameters)> = headers.iter().flat_map(|h| schemes(h)).collect();
        let bearer = offered
            .iter()
            .filter(|o| o.0 == "bearer")
            .find_map(|(_, parameters)| {
                let value =
                    |name: &str| parameters.iter().find(|p| p.0 == name).map(|p| p.1.clone());
                Some(Self::Bearer {
                    realm: value("realm")?,
                    service: value("service"),
                    scope: value("scope"),
                })
            });
        bearer.or_else(|| {
            offered
                .iter()
                .any(|o| o.0 == "basic")
                .then_some(Self::Basic)
        })
    }
}

type Parameters = Vec<(String, String)>;

/// Returns the schemes of a header with their parameters. Names are in lower case.
fn schemes(header: &str) -> Vec<(String, Parameters)> {
    let mut out: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=', '\t']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(after) = after.trim_start().strip_prefix('=') {
            let (value, after) = value(after.trim_start());
            if let Some(last) = out.last_mut() {
                last.1.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            out.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    out
}

/// Parses a token or a quoted string. Returns the value and the rest of the text.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            // A quoted pair of RFC 9110.
            '\\' => value.extend(chars.next().map(|c| c.1)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |s: Option<&str>| s.map(str::to_owned);
        Some(Challenge::Bearer {
            realm: realm.to_owned(),
            service: owned(service),
            scope: owned(scope),
        })
    }

    #[test]
    fn every_way_to_write_it() {
        let realm = "https://auth.example/token";
        let full = format!(
            "Bearer realm=\"{realm}\",service=\"r.example\",scope=\"repository:a/b:pull,push\",error=\"invalid_token\""
        );
        let parsed = Challenge::parse(&[&full]);
        assert_eq!(
            parsed,
            bearer(realm, Some("r.example"), Some("repository:a/b:pull,push"))
        );
        assert_eq!(
            Challenge::parse(&["Basic realm=\"Registry \\\"Realm\\\"\""]),
            Some(Challenge::Basic)
        );
        assert_eq!(Challenge::parse(&["basic"]), Some(Challenge::Basic));
        let both = format!("Basic realm=\"a, b\", BEARER realm = \"{realm}\" , service=x");
        assert_eq!(Challenge::parse(&[&both]), bearer(realm, Some("x"), None));
        assert_eq!(Challenge::parse(&["Basic realm=x", &full]), parsed);
        assert_eq!(Challenge::parse(&["Bearer service=x"]), None);
        for nonsense in [
            "",
            ",,",
            "=",
            "\"",
            "Negotiate",
            "Bearer realm=\"",
            "a=b",
            "Bearer =\"x\\",
        ] {
            assert!(
                !matches!(Challenge::parse(&[nonsense]), Some(Challenge::Basic)),
                "{nonsense}"
            );
        }
    }
}
