//! The command line of `dvc volume`.

use crate::globals::{DryRun, Globals, With};
use clap::{Args, Subcommand, ValueEnum};

/// Options of `volume`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc volume create db --from 's3://backups/amcc#AMCC@v3'\n  \
                        docker run -v \"$(dvc volume path db)\":/var/lib/mysql mariadb\n  \
                        dvc volume ls\n  dvc volume rm db"
)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    pub(crate) action: VolumeAction,
}

/// The actions of `volume`.
#[derive(Subcommand, Debug)]
pub(crate) enum VolumeAction {
    /// Create a volume; if it exists with the same options, do nothing
    Create(With<CreateArgs>),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(With<LsArgs>),
    /// Show the details of volumes
    Inspect(With<InspectArgs>),
    /// Mount a volume and print its path
    Path(With<PathArgs>),
    /// Exit with 0 if a volume exists, with 1 if not; print nothing
    Has(With<HasArgs>),
    /// Remove volumes; uncommitted changes are moved to the trash
    #[command(visible_alias = "remove")]
    Rm(With<RmArgs>),
    /// Rename a volume
    #[command(alias = "rename")]
    Mv(With<MvArgs>),
}

/// Options of `volume create`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc volume create scratch\n  dvc volume create db --from AMCC@v3 --quota 40G\n  \
                        dvc volume create db --from 's3://backups/amcc#AMCC@v3' --branch dev/me\n  \
                        dvc volume create db --from AMCC@v3 --driver local"
)]
pub(crate) struct CreateArgs {
    /// Create a volume with this name
    pub(crate) name: String,
    /// Fill the volume with this version, or URL#REV; the default is an empty volume
    #[arg(long, value_name = "REV")]
    pub(crate) from: Option<String>,
    /// Make the volume read-only
    #[arg(long)]
    pub(crate) ro: bool,
    /// Commit changes to this branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Limit the disk space of the volume's changes, such as 40G
    #[arg(long, value_name = "SIZE")]
    pub(crate) quota: Option<String>,
    /// Set an option of `docker volume create`: repo, rev, mode, branch, cache, quota, live
    #[arg(short, value_name = "KEY=VALUE")]
    pub(crate) option: Vec<String>,
    /// Use this driver; `local` writes the version to a local-driver volume of the Docker engine
    #[arg(long, value_enum, default_value = "dvc")]
    pub(crate) driver: Driver,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// The driver of a volume.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A mount whose data is fetched when it is read
    Dvc,
    /// A directory of the Docker engine
    Local,
}

/// Options of `volume ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {}

/// Options of `volume inspect`.
#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// Show these volumes
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// Options of `volume has`.
#[derive(Args, Debug)]
pub(crate) struct HasArgs {
    /// Look for this volume
    pub(crate) name: String,
}

/// Options of `volume path`.
#[derive(Args, Debug)]
#[command(
    after_help = "The volume stays mounted until it is removed. In a container, `host` is the path below \
                        DVC_HOST_DATA_DIR, which is the path of DVC_DATA_DIR outside of the container."
)]
pub(crate) struct PathArgs {
    /// Mount this volume
    pub(crate) name: String,
    /// Print the path as seen from this side
    #[arg(long, value_enum, default_value = "host")]
    pub(crate) scope: PathScope,
}

/// The side that a path is for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathScope {
    /// Outside of this container
    Host,
    /// Inside this container
    Container,
}

/// Options of `volume rm`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc volume rm db\n  dvc volume rm --no-trash db    delete changes at once"
)]
pub(crate) struct RmArgs {
    /// Remove these volumes
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Delete uncommitted changes instead of moving them to the trash
    #[arg(long)]
    pub(crate) no_trash: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `volume mv`.
#[derive(Args, Debug)]
pub(crate) struct MvArgs {
    /// Rename this volume
    pub(crate) name: String,
    /// Use this new name
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

impl VolumeAction {
    /// Returns the global options that follow the action.
    pub(crate) fn globals(&self) -> &Globals {
        match self {
            Self::Create(with) => &with.globals,
            Self::Ls(with) => &with.globals,
            Self::Inspect(with) => &with.globals,
            Self::Path(with) => &with.globals,
            Self::Has(with) => &with.globals,
            Self::Rm(with) => &with.globals,
            Self::Mv(with) => &with.globals,
        }
    }
}
