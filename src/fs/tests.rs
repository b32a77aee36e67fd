//! The contract of the file system seam, held against every implementation that runs here.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;

const MODES: [LinkMode; 4] = [LinkMode::Auto, LinkMode::Clone, LinkMode::Hardlink, LinkMode::Copy];
const MEANS: [Means; 3] = [Means::Sequential, Means::Uring, Means::Threads];

struct Space {
    directory: tempfile::TempDir,
}

impl Space {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Fails if a temporary file was left.
    fn check_tidy(&self) {
        let names = list_names(self.directory.path()).unwrap();
        assert!(
            !names.iter().any(|name| name.to_string_lossy().contains("kache-tmp")),
            "left behind: {names:?}"
        );
    }
}

fn inode(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_private_place_has_its_own_inode_the_mode_given_and_the_current_time() {
    for links in MODES {
        let space = Space::new();
        let blob = space.file("blob", b"content");
        set_mode(&blob, 0o444).unwrap();
        set_mtime(&blob, 1_000_000_000).unwrap();
        let before_ns = file_clock_ns();
        let to = space.path("to");
        place_private(&blob, &to, links, 0o775).unwrap();
        let placed = stat(&to).unwrap();
        assert_ne!(inode(&blob), placed.inode);
        assert_eq!(placed.mode, 0o775);
        assert!(placed.mtime_ns >= before_ns, "{links:?}");
        assert_eq!(read(&to).unwrap(), b"content");
        space.check_tidy();
    }
}

#[test]
fn a_shared_place_is_the_same_inode_where_links_are_allowed() {
    let space = Space::new();
    let blob = space.file("blob", b"content");
    let to = space.path("to");
    assert_eq!(place_shared(&blob, &to, LinkMode::Hardlink, 0o644).unwrap(), Placed::Linked);
    assert_eq!(inode(&blob), inode(&to));
    assert_eq!(place_shared(&blob, &to, LinkMode::Hardlink, 0o644).unwrap(), Placed::Linked);
    assert_eq!(stat(&blob).unwrap().links, 2);
    space.check_tidy();
}

#[test]
fn what_is_nobodys_yet_is_lent_once() {
    for links in MODES {
        let space = Space::new();
        let blob = space.file("blob", b"content");
        set_mode(&blob, 0o644).unwrap();
        set_mtime(&blob, 1_000_000_000).unwrap();
        let before_ns = file_clock_ns();
        let to = space.file("to", b"what stands there");
        let (placed, mtime_ns) = place_lent(&blob, &to, links, 0o644).unwrap();
        assert_eq!(placed == Placed::Linked, inode(&blob) == inode(&to), "{links:?}");
        assert_eq!(mtime_ns.is_some(), placed == Placed::Linked);
        assert_eq!(stat(&blob).unwrap().mtime_ns, mtime_ns.unwrap_or(1_000_000_000));
        assert!(stat(&to).unwrap().mtime_ns >= before_ns, "{links:?}");
        assert!(placed == Placed::Linked || links != LinkMode::Hardlink);
        assert!(placed != Placed::Linked || matches!(links, LinkMode::Hardlink | LinkMode::Auto));
        let two = [blob.as_path(), to.as_path()].map(inode);
        let other = space.path("other");
        link(&blob, &space.path("somebody")).unwrap();
        let (placed, mtime_ns) = place_lent(&blob, &other, links, 0o644).unwrap();
        assert!(placed != Placed::Linked && mtime_ns.is_none());
        assert!(!two.contains(&inode(&other)));
        assert_eq!(read(&other).unwrap(), b"content");
        space.check_tidy();
    }
}

#[test]
fn what_is_to_have_another_mode_is_not_lent() {
    let space = Space::new();
    let blob = space.file("blob", b"content");
    set_mode(&blob, 0o644).unwrap();
    let to = space.path("to");
    let (_, mtime_ns) = place_lent(&blob, &to, LinkMode::Hardlink, 0o755).unwrap();
    assert_eq!(mtime_ns, None);
    assert_eq!((stat(&blob).unwrap().mode, stat(&to).unwrap().mode), (0o644, 0o755));
    space.check_tidy();
}

#[test]
fn placing_over_a_shared_inode_leaves_its_other_names_as_they_were() {
    for links in MODES {
        for private in [false, true] {
            let space = Space::new();
            let blob = space.file("blob", b"new");
            let other = space.file("other", b"old");
            let to = space.path("to");
            link(&other, &to).unwrap();
            if private {
                place_private(&blob, &to, links, 0o644).unwrap();
            } else {
                place_shared(&blob, &to, links, 0o644).unwrap();
            }
            assert_eq!(read(&other).unwrap(), b"old");
            assert_eq!(read(&to).unwrap(), b"new");
            space.check_tidy();
        }
    }
}

#[test]
fn another_filesystem_is_reached_by_a_copy() {
    let space = Space::new();
    let Ok(memory) = tempfile::tempdir_in("/dev/shm") else { return };
    let to = memory.path().join("to");
    let blob = space.file("blob", b"content");
    if stat(&blob).unwrap().device == stat(memory.path()).unwrap().device {
        return;
    }
    for links in MODES {
        assert_eq!(place_shared(&blob, &to, links, 0o640).unwrap(), Placed::Copied);
        assert_eq!(place_private(&blob, &to, links, 0o640).unwrap(), Placed::Copied);
        assert_eq!(stat(&to).unwrap().mode, 0o640);
    }
    assert!(!replace_by_link(&blob, &to).unwrap());
    set_mtime(&blob, 77).unwrap();
    let new = memory.path().join("new");
    assert!(link_or_copy_new(&blob, &new).unwrap());
    assert_eq!(stat(&new).unwrap().mtime_ns, 77);
    assert!(!link_or_copy_new(&blob, &new).unwrap());
    assert_eq!(list_names(memory.path()).unwrap().len(), 2);
}

#[test]
fn a_missing_original_is_told_from_a_full_disk() {
    let space = Space::new();
    let error = place_private(&space.path("none"), &space.path("to"), LinkMode::Auto, 0o644);
    let error = error.unwrap_err();
    assert!(error.is_absent() && !error.is_full());
    assert!(error.to_string().contains("/none"), "{error}");
    assert!(lstat(&space.path("to")).unwrap_err().is_absent());
    space.check_tidy();
}

#[test]
fn a_file_of_the_store_is_never_replaced_by_a_new_one() {
    let space = Space::new();
    let from = space.file("from", b"new");
    let blob = space.file("blob", b"old");
    assert!(!link_or_copy_new(&from, &blob).unwrap());
    assert!(!clone_or_link_new(&from, &blob).unwrap());
    assert_eq!(read(&blob).unwrap(), b"old");
    assert!(clone_or_link_new(&from, &space.path("blob2")).unwrap());
    space.check_tidy();
}

#[test]
fn renaming_one_name_of_an_inode_over_another_leaves_one() {
    let space = Space::new();
    let from = space.file("from", b"content");
    let to = space.path("to");
    link(&from, &to).unwrap();
    rename(&from, &to).unwrap();
    assert!(lstat(&from).unwrap_err().is_absent());
    assert_eq!(stat(&to).unwrap().links, 1);
}

#[test]
fn texts_and_links_replace_what_stood_there() {
    let space = Space::new();
    let to = space.file("to", b"old");
    let other = space.path("other");
    link(&to, &other).unwrap();
    write_new(&to, b"text", 0o600).unwrap();
    assert_eq!((read(&to).unwrap(), stat(&to).unwrap().mode), (b"text".to_vec(), 0o600));
    replace_by_symlink(Path::new("else where"), &to).unwrap();
    assert_eq!(read_link(&to).unwrap(), Path::new("else where"));
    assert_eq!(lstat(&to).unwrap().kind, FileKind::Symlink);
    assert_eq!(read(&other).unwrap(), b"old");
    space.check_tidy();
}

#[test]
fn a_directory_keeps_its_name_when_a_file_is_to_have_it() {
    let space = Space::new();
    let to = space.path("to");
    create_directories(&to.join("below")).unwrap();
    assert!(write_new(&to, b"text", 0o600).is_err());
    assert_eq!(list_names(&to).unwrap(), ["below"]);
    space.check_tidy();
}

#[test]
fn directories_are_made_listed_and_removed_with_all_below() {
    let space = Space::new();
    let deep = space.path("a/b/c");
    create_directories(&deep).unwrap();
    create_directories(&deep).unwrap();
    let outside = space.file("outside", b"");
    std::fs::write(deep.join("file"), b"").unwrap();
    symlink(&outside, deep.join("link")).unwrap();
    let mut entries = list(&deep).unwrap();
    entries.sort();
    assert_eq!(
        entries,
        [("file".into(), Some(FileKind::File)), ("link".into(), Some(FileKind::Symlink))]
    );
    remove_tree(&space.path("a")).unwrap();
    assert_eq!(list_names(space.directory.path()).unwrap(), ["outside"]);
    let blocked = create_directories(&outside.join("below")).unwrap_err();
    assert_eq!(blocked.operation, "create directory");
}

#[test]
fn windows_join_to_the_content_whatever_their_size() {
    let space = Space::new();
    let content = (0..10_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let path = space.file("file", &content);
    for window_bytes in [1 << 10, 4096, 39_999, 40_000, 1 << 20] {
        let mut joined = Vec::new();
        let mut kept = 0;
        read_in_windows(&path, window_bytes, |window| {
            joined.extend_from_slice(&window[kept..]);
            kept = window.len().min(7);
            kept
        })
        .unwrap();
        assert_eq!(joined, content);
    }
}

#[test]
fn every_means_reads_the_same_contents_and_errors_in_order() {
    let space = Space::new();
    let mut paths = (0..200_usize)
        .map(|n| space.file(&format!("f{n}"), &vec![u8::try_from(n).unwrap(); n * n * 3]))
        .collect::<Vec<_>>();
    paths.insert(70, space.path("absent"));
    paths.insert(90, space.directory.path().to_owned());
    paths.push(space.file("exact", &[1; 16 << 10]));
    let expected = paths.iter().map(|path| read(path)).collect::<Vec<_>>();
    assert!(expected[70].as_ref().unwrap_err().is_absent());
    for means in MEANS {
        assert_eq!(read_all_by(means, &paths), expected, "{means:?}");
        prefetch_by(means, &paths);
        assert!(read_all_by(means, &[]).is_empty());
    }
    assert_eq!(read_all(&paths), expected);
    prefetch(&paths);
}

#[test]
fn times_that_mark_a_file_are_kept_to_the_nanosecond() {
    let space = Space::new();
    let path = space.file("file", b"");
    for mtime_ns in [0, 1, 1_234_567_890_123_456_789, -1] {
        set_mtime(&path, mtime_ns).unwrap();
        assert_eq!(stat(&path).unwrap().mtime_ns, mtime_ns);
    }
    let before_ns = file_clock_ns();
    touch(&path).unwrap();
    assert!(stat(&path).unwrap().mtime_ns >= before_ns);
}

#[test]
fn a_file_written_read_only_is_read_only_from_its_first_byte() {
    let space = Space::new();
    let path = space.path("file");
    write_new(&path, &vec![7; 100_000], 0o444).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o777, metadata.len()), (0o444, 100_000));
    assert!(free_bytes(&path).unwrap() > 0);
    sync(&path).unwrap();
    sync(space.directory.path()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    assert!(create_directories(Path::new("/proc/kache/a")).is_err());
}
