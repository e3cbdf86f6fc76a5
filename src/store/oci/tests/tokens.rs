//! A token server for a real registry. `openssl` signs the tokens with a key that each test
//! creates.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::servers::{Answer, Registry, Request, Stub};

/// A registry with a token server. `writer` gets all permissions; `reader` is rejected if it
/// requests more than permission to read.
pub(super) struct Guarded {
    pub(super) registry: Registry,
    pub(super) tokens: Stub,
    /// Makes the next token invalid.
    pub(super) spoil: Arc<AtomicBool>,
    /// Directory of the key and its certificate.
    _keys: tempfile::TempDir,
}

/// Starts both servers. Tokens claim a lifetime of `life` seconds.
pub(super) fn start(life: u64) -> Option<Guarded> {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed");
        return None;
    }
    let keys = tempfile::tempdir().unwrap();
    let (key, cert) = (keys.path().join("key.pem"), keys.path().join("cert.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tokens",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let pem = std::fs::read_to_string(&cert).unwrap();
    let der: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
    let spoil: Arc<AtomicBool> = Arc::default();
    let spoiled = Arc::clone(&spoil);
    let tokens = Stub::start(move |request| {
        grant(
            request,
            &key,
            &der,
            life,
            spoiled.swap(false, Ordering::SeqCst),
        )
    });
    let realm = format!("http://{}/token", tokens.host);
    let more = |_: &Path| {
        format!(
            "auth:\n  token:\n    realm: {realm}\n    service: here\n    issuer: tests\n    rootcertbundle: {}\n",
            cert.display()
        )
    };
    let registry = Registry::with(more, true)?;
    Some(Guarded {
        registry,
        tokens,
        spoil,
        _keys: keys,
    })
}

fn grant(request: &Request, key: &Path, der: &str, life: u64, spoil: bool) -> Answer {
    let query = request
        .line
        .split_once('?')
        .map(|l| l.1.to_owned())
        .unwrap_or_default();
    let field = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|p| p.0 == name)
            .unwrap()
            .1
    };
    let scope = field("scope");
    let mut parts = scope.split(':');
    let (Some("repository"), Some(name), Some(actions)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return (400, Vec::new(), Vec::new());
    };
    let basic = |who: &str| format!("Basic {}", STANDARD.encode(format!("{who}:secret")));
    match request.header("authorization") {
        Some(who) if *who == basic("writer") => {}
        Some(who) if *who == basic("reader") && actions == "pull" => {}
        Some(who) if *who == basic("reader") => return (403, Vec::new(), Vec::new()),
        _ => return (401, Vec::new(), Vec::new()),
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let header = serde_json::json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let actions: Vec<&str> = actions.split(',').collect();
    let access = [serde_json::json!({ "type": "repository", "name": name, "actions": actions })];
    // The registry accepts the token for longer than its claimed lifetime, so the client alone
    // decides when to renew it.
    let claims = serde_json::json!({
        "iss": "tests", "sub": "x", "aud": field("service"), "exp": now + 300, "nbf": now - 10, "iat": now,
        "jti": format!("{now}"), "access": access,
    });
    let encode = |v: &serde_json::Value| URL_SAFE_NO_PAD.encode(v.to_string());
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let mut signature = sign(key, &signed);
    if spoil {
        signature[7] ^= 1;
    }
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    (
        200,
        Vec::new(),
        serde_json::json!({ "token": token, "expires_in": life })
            .to_string()
            .into_bytes(),
    )
}

fn sign(key: &Path, text: &str) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}
