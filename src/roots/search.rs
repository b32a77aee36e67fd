//! Looking for roots in the bytes of outputs.

use memchr::memmem;
use store_format::Root;

use super::{Form, RootSet, Roots, below};

impl Roots {
    /// Bytes of the longest form of a root: whoever searches a file in pieces lets them overlap
    /// by that much.
    pub fn longest_bytes(&self) -> usize {
        let forms = self.places.iter().map(|place| place.text(Form::Makefile).len());
        forms.max().unwrap_or(0)
    }

    /// Which roots' literal paths the bytes of an output contain. A path of a root that lies in
    /// another one contains both.
    ///
    /// Conservative: compilers put strings one after another without anything between them, so
    /// what stands before and after an occurrence proves nothing, and nothing there is looked at.
    pub fn surviving(&self, bytes: &[u8]) -> RootSet {
        let mut found = RootSet::default();
        // Shortest first: where a path is absent, those that begin with it are.
        let mut absent: Vec<&[u8]> = Vec::with_capacity(self.places.len());
        for place in self.places.iter().rev() {
            let known_absent = absent.iter().any(|path| place.path.starts_with(path));
            if !known_absent && memmem::find(bytes, &place.path).is_some() {
                found.insert(place.root);
            } else if !known_absent {
                absent.push(&place.path);
            }
            if let Some(escaped) = &place.escaped
                && memmem::find(bytes, escaped).is_some()
            {
                found.insert(place.root);
            }
        }
        found
    }

    /// Which roots' paths may be in optimized code that does not contain them as a whole.
    ///
    /// Optimizers turn a comparison with a short text, or a copy of one, into constants of eight or
    /// sixteen bytes. Whatever stands before the root, they hold every eight bytes
    /// of it from some offset below eight on. Of these the first one with a slash is looked
    /// for, since others may be words; but none that lies behind another root, since what is
    /// below that is named by the rest of the path. Holds where constants are whole in the code:
    /// see [`Invocation::scannable`].
    pub fn fragments(&self, bytes: &[u8]) -> RootSet {
        let mut found = RootSet::default();
        let mut searched: Vec<(&[u8], bool)> = Vec::new();
        for (index, place) in self.places.iter().enumerate() {
            // Those that may contain it come behind it. Home and sysroot are named in full.
            let outer = self.places[index + 1..].iter().filter(|outer| {
                !matches!(outer.root, Root::Home | Root::Sysroot)
                    && below(&place.path, &outer.path).is_some()
            });
            let outer_bytes = outer.map(|outer| outer.path.len()).min();
            let outer_bytes = outer_bytes.unwrap_or(place.path.len());
            for piece in telling_pieces(&place.path, outer_bytes) {
                let known = searched.iter().find(|(other, _)| *other == piece);
                let occurs = known
                    .map_or_else(|| memmem::find(bytes, piece).is_some(), |&(_, occurs)| occurs);
                searched.push((piece, occurs));
                if occurs {
                    found.insert(place.root);
                }
            }
        }
        found
    }
}

/// One piece of a path for each of the eight ways to cut it into pieces of eight bytes. It begins in the
/// first `outer_bytes`, unless there is none that does.
fn telling_pieces(path: &[u8], outer_bytes: usize) -> impl Iterator<Item = &[u8]> {
    const PIECE_BYTES: usize = 8;
    let length = PIECE_BYTES.min(path.len());
    path.windows(length).take(PIECE_BYTES).enumerate().map(move |(offset, first)| {
        let pieces = path[offset..].chunks_exact(length);
        let outer = outer_bytes.saturating_sub(offset).div_ceil(length).max(1);
        let mut pieces = pieces.take(outer);
        pieces.find(|piece| piece.contains(&b'/')).unwrap_or(first)
    })
}
