//! Words of both ends, whatever a word is.

use streampipe_ring::{View, Words};

/// The words of one end.
#[derive(Debug, Default)]
pub(crate) struct Control<W> {
    pub(crate) tail: W,
    pub(crate) batches: W,
    pub(crate) notes: W,
    pub(crate) head: W,
    pub(crate) taken: W,
    pub(crate) handed: W,
    pub(crate) ended: W,
    pub(crate) closings: W,
    pub(crate) data_arm: W,
    pub(crate) space_arm: W,
    pub(crate) processor: W,
    pub(crate) marks: [W; 2],
}

impl<W> Control<W> {
    /// As the end sees it that writes these.
    pub(crate) fn view<'memory>(&'memory self, peer: &'memory Self) -> View<'memory, W> {
        View { own: self.words(), peer: peer.words() }
    }

    fn words(&self) -> Words<'_, W> {
        Words {
            tail: &self.tail,
            batches: &self.batches,
            notes: &self.notes,
            head: &self.head,
            taken: &self.taken,
            handed: &self.handed,
            ended: &self.ended,
            closings: &self.closings,
            data_arm: &self.data_arm,
            space_arm: &self.space_arm,
            processor: &self.processor,
            marks: &self.marks,
        }
    }
}
