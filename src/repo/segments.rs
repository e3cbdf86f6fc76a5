//! Publishing an index segment in any repository.

use super::{Repo, layout};
use crate::error::Result;
use crate::format::segment::{PackName, SegmentName};
use crate::index::catalogue::segments::SegmentRow;
use crate::index::segment_reader::SegmentReader;
use crate::index::segment_writer::WrittenSegment;
use crate::observe::Observer;

impl Repo {
    /// Makes a segment durable and its rows findable. `replaces` are the segments that it replaces,
    /// `packs` are the packs that no segment listed before.
    pub fn add_segment(
        &self,
        written: WrittenSegment,
        replaces: &[SegmentName],
        packs: &[PackName],
        observer: &dyn Observer,
    ) -> Result<()> {
        let WrittenSegment {
            name,
            kind,
            file_bytes,
            rows,
            file,
        } = written;
        let key = layout::segment(&name);
        // Open the segment before any other process can know of it and replace it.
        let reader = SegmentReader::open(name, file.path())?;
        observer.step("segment");
        match self.as_local() {
            Some(local) => local.files().publish(file, &key)?,
            None => self.store().put(file.path(), &key)?,
        }
        observer.step("segment published");
        let row = SegmentRow {
            name,
            kind,
            file_bytes,
            rows,
            replaced_by: None,
        };
        if let Ok(catalogue) = self.catalogue() {
            catalogue.add_segment(&row, replaces, packs)?;
        }
        self.index()?.add_segment(reader);
        Ok(())
    }
}
