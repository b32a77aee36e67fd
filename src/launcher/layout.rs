//! What the launcher's program and kache have in common.

use core::ffi::CStr;

/// The first argument by which a launcher calls kache.
pub(super) const WORD: &CStr = c"run-build-script";

/// Where the places of what it runs are in the program: this, and behind it three texts with a zero behind
/// each: the path of kache, the name of the real executable beside the launcher, and its path.
pub(super) const PLACES_MARK: &[u8; 16] = b"kache runs here:";

/// Room for all that.
pub(super) const PLACES_BYTES: usize = 4096;
