//! Opens the store of a location: retries requests, and locks `create` if the store does not
//! support conditional writes.

use std::sync::Arc;

use super::access::Access;
use super::guard::GuardedStore;
use super::local::LocalStore;
use super::location::{Location, Scheme};
#[cfg(feature = "remotes")]
use super::oci::OciStore;
#[cfg(feature = "remotes")]
use super::oci::image::ImageStore;
#[cfg(feature = "remotes")]
use super::remote::RemoteStore;
use super::retry::RetryStore;
#[cfg(feature = "remotes")]
use super::sftp::SftpStore;
use super::{Store, StoreError, StoreErrorKind};

/// Returns the store of container images at a registry location, with retries. Sends no request.
pub fn images(location: &Location, access: &Access) -> Result<Arc<dyn Store>, StoreError> {
    ensure_trusted(location, access)?;
    if access.offline {
        return Err(offline(location));
    }
    Ok(Arc::new(RetryStore::new(
        registry(location, access)?,
        Arc::clone(&access.observer),
    )))
}

/// Fails if the location comes from a repository that the caller does not trust.
fn ensure_trusted(location: &Location, access: &Access) -> Result<(), StoreError> {
    match &access.distrusted {
        Some(source) => Err(StoreError::Distrusted {
            place: location.to_string(),
            source: source.clone(),
        }),
        None => Ok(()),
    }
}

fn offline(location: &Location) -> StoreError {
    StoreError::remote(
        "access",
        "",
        location.to_string(),
        StoreErrorKind::Offline,
        "no request was sent",
    )
}

/// Returns the store of a location. Sends no request.
pub fn open(location: &Location, access: &Access) -> Result<Arc<dyn Store>, StoreError> {
    ensure_trusted(location, access)?;
    let dir = location.as_directory();
    // A directory needs no retries, because its errors are not transient.
    if let (Some(dir), None) = (&dir, &access.wrap) {
        return Ok(Arc::new(LocalStore::new(dir.clone())));
    }
    // A directory causes no requests of this process, so `--offline` allows it.
    if dir.is_none() && access.offline {
        return Err(offline(location));
    }
    let base: Arc<dyn Store> = match (dir, location.scheme) {
        (Some(dir), _) => Arc::new(LocalStore::new(dir)),
        (None, scheme) => remote(scheme, location, access)?,
    };
    let base = access
        .wrap
        .as_ref()
        .map_or_else(|| Arc::clone(&base), |wrap| wrap(Arc::clone(&base)));
    // `guarded` means that a probe has seen the server ignore conditions.
    let exclusive = base.abilities().exclusive && !access.guarded;
    let retried: Arc<dyn Store> = Arc::new(
        RetryStore::new(Arc::clone(&base), Arc::clone(&access.observer)).patient(access.patience),
    );
    if exclusive {
        return Ok(retried);
    }
    Ok(Arc::new(GuardedStore::new(
        retried,
        base,
        Arc::clone(&access.observer),
    )))
}

/// Returns the store of a location that is not a directory of this machine.
#[cfg(feature = "remotes")]
fn remote(
    scheme: Scheme,
    location: &Location,
    access: &Access,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match scheme {
        Scheme::Sftp => Arc::new(SftpStore::open(location, access)?),
        Scheme::Oci => Arc::new(OciStore::open(location, access)?),
        _ => Arc::new(RemoteStore::open(location, access)?),
    })
}

#[cfg(feature = "remotes")]
fn registry(location: &Location, access: &Access) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(ImageStore::open(location, access)?))
}

#[cfg(not(feature = "remotes"))]
fn remote(_: Scheme, location: &Location, access: &Access) -> Result<Arc<dyn Store>, StoreError> {
    registry(location, access)
}

#[cfg(not(feature = "remotes"))]
fn registry(location: &Location, _: &Access) -> Result<Arc<dyn Store>, StoreError> {
    Err(StoreError::NotBuilt {
        place: location.to_string(),
    })
}
