//! Request signatures: verifies those of S3 (version 4) and creates those of Azure (shared key).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::http::{Request, encoded};

/// The argument of a presigned URL that is not part of the signed text.
const IN_URL: &str = "X-Amz-Signature";

/// Encodes bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Returns the SHA-256 hash in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the HMAC-SHA256 of a message.
pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let pad = |with: u8| block.map(|b| b ^ with);
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

/// Returns the value of the `Authorization` header for HTTP basic authentication.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The signature of a request, with the claimed key id and the signed headers.
pub struct Claim<'a> {
    pub key_id: &'a str,
    scope: &'a str,
    signed: &'a str,
    signature: &'a str,
    date: &'a str,
}

/// Parses the `Authorization` header of S3, or the equivalent arguments of a presigned URL.
pub fn claim(request: &Request) -> Option<Claim<'_>> {
    if let Some(signature) = request.argument(IN_URL) {
        let (key_id, scope) = request.argument("X-Amz-Credential")?.split_once('/')?;
        let (signed, date) = (
            request.argument("X-Amz-SignedHeaders")?,
            request.argument("X-Amz-Date")?,
        );
        return Some(Claim {
            key_id,
            scope,
            signed,
            signature,
            date,
        });
    }
    let rest = request
        .header("authorization")?
        .strip_prefix("AWS4-HMAC-SHA256")?;
    let field = |name: &str| {
        rest.split(',')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let (key_id, scope) = field("Credential")?.split_once('/')?;
    let date = request.header("x-amz-date")?;
    Some(Claim {
        key_id,
        scope,
        signed: field("SignedHeaders")?,
        signature: field("Signature")?,
        date,
    })
}

impl Claim<'_> {
    /// Returns whether the signature was made with this secret.
    pub fn holds(&self, request: &Request, secret: &str) -> bool {
        let path: Vec<String> = request.path.split('/').map(encoded).collect();
        let signed = request.query.iter().filter(|(name, _)| name != IN_URL);
        let mut query: Vec<String> = signed
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        query.sort_unstable();
        let mut text = format!(
            "{}\n{}\n{}\n",
            request.method,
            path.join("/"),
            query.join("&")
        );
        for name in self.signed.split(';') {
            text.push_str(&format!(
                "{name}:{}\n",
                request.header(name).unwrap_or_default()
            ));
        }
        let content = request
            .header("x-amz-content-sha256")
            .unwrap_or("UNSIGNED-PAYLOAD");
        text.push_str(&format!("\n{}\n{content}", self.signed));
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.date,
            self.scope,
            sha256_hex(text.as_bytes())
        );
        let first = format!("AWS4{secret}").into_bytes();
        let key = self
            .scope
            .split('/')
            .fold(first, |key, part| hmac(&key, part.as_bytes()));
        hex(&hmac(&key, text.as_bytes())) == self.signature
    }
}

/// Returns the value of the `Authorization` header for Azure. `headers` are the sorted `x-ms-`
/// headers, `resource` is the path followed by the sorted arguments, one per line, and `body` is
/// the length of the body in bytes.
pub fn shared_key(
    account: &str,
    key: &str,
    method: &str,
    headers: &[(&str, &str)],
    resource: &str,
    body: usize,
) -> String {
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let len = if body == 0 {
        String::new()
    } else {
        body.to_string()
    };
    // The other standard headers are empty here.
    let text = format!(
        "{method}\n\n\n{len}{}{headers}/{account}{resource}",
        "\n".repeat(9)
    );
    let signature = STANDARD.encode(hmac(&STANDARD.decode(key).unwrap(), text.as_bytes()));
    format!("SharedKey {account}:{signature}")
}
