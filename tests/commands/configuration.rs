//! The configuration, read, written and wrong.

use crate::space::Space;
use snapbox::{assert_data_eq, str};

#[test]
fn the_configuration_can_be_read_and_written() {
    let space = Space::new();
    assert_data_eq!(
        space.run(&["config", "set", "local_max_size", "3GiB"]),
        str![[r#"
note: local_max_size is set in [ROOT]/.config/kache/config.toml
exit status 0

"#]]
    );
    assert_data_eq!(
        space.run(&["config", "get", "cache.local_max_size"]),
        str![[r#"
3221225472
exit status 0

"#]]
    );
    assert_data_eq!(
        space.run(&["config", "get", "remote.bucket"]),
        str![[r#"
exit status 1

"#]]
    );
    assert_data_eq!(
        space.run(&["config", "set", "local_max_sise", "1"]),
        str![[r#"
error: `local_max_sise` is not a known key
hint: did you mean `local_max_size`?
exit status 2

"#]]
    );
    assert_data_eq!(
        space.run(&["config", "set", "link_mode", "symlink"]),
        str![[r#"
error: `link_mode` is `symlink`, expected auto, clone, hardlink or copy
exit status 2

"#]]
    );
    assert_data_eq!(
        space.run(&["config", "set", "KACHE_DISABLED", "1"]),
        str![[r#"
error: KACHE_DISABLED is not in the file
hint: it is set by the environment only
exit status 2

"#]]
    );
    let listed = space.json(&["config", "list", "--json"]);
    let origin = |key: &str| {
        let settings = listed.as_array().unwrap();
        settings.iter().find(|setting| setting["key"] == key).unwrap()["origin"].clone()
    };
    assert_eq!(origin("local_store"), "environment");
    assert_eq!(origin("link_mode"), "default");
}

#[test]
fn setting_a_key_keeps_comments_and_order() {
    let space = Space::new();
    let file = space.path(".kache.toml");
    let text = "# mine\n[cache] # all of it\nkey_salt = \"a\" # salty\nlink_mode = 'copy'\n";
    std::fs::write(&file, text).unwrap();
    for arguments in [["key_salt", "b"], ["remote.bucket", "c"], ["exclude", "d/**, e"]] {
        let set = space.kache(&["config", "set"]).args(arguments).output().unwrap();
        assert!(set.status.success(), "{set:?}");
    }
    assert_data_eq!(
        std::fs::read_to_string(file).unwrap(),
        str![[r##"
# mine
[cache] # all of it
key_salt = "b" # salty
link_mode = 'copy'
exclude = ["d/**", "e"]

[cache.remote]
bucket = "c"

"##]]
    );
}

#[test]
fn a_wrong_configuration_stops_commands_and_names_its_place() {
    let space = Space::new();
    let text = "[cache]\n\nlocal_max_size = \"lots\"\ncolour = true\n";
    std::fs::write(space.path(".kache.toml"), text).unwrap();
    let output = space.kache(&["stats"]).env("KACHE_S3_CONCURRENCY", "many").output().unwrap();
    assert_data_eq!(
        space.shown(&output),
        str![[r#"
warning: [ROOT]/.kache.toml:4: `colour` is not a known key
error: [ROOT]/.kache.toml:3: `local_max_size` is `"lots"`, expected a size such as 50GB, 50GiB or a number of bytes
 KACHE_S3_CONCURRENCY is `many`, expected a whole number, 1 or more
hint: builds go on with the default until this is corrected
exit status 2

"#]]
    );
}
