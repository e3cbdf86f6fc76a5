//! One file per verb: its options, the call of the library, and the report as text or JSON.

pub(crate) mod branch;
pub(crate) mod checkout;
pub(crate) mod clone;
pub(crate) mod commit;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod du;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod forget;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod ls;
pub(crate) mod mount;
mod overlays;
pub(crate) mod pack;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod remote;
#[cfg(feature = "docker")]
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod tag;
pub(crate) mod trash;
pub(crate) mod umount;
pub(crate) mod undo;
pub(crate) mod unpack;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod watchdog;
