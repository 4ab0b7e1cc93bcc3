//! What pmctl prints about itself: manual pages, completions, help.

mod common;

use common::Place;

/// The names of all commands, as the help lists them.
fn commands(place: &Place) -> Vec<String> {
    let help = place.run(["--help"]).expect(0);
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<_> = list
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect();
    assert!(names.len() > 20, "{names:?}");
    names
}

#[test]
fn every_command_has_a_manual_page_and_help() {
    let place = Place::empty();
    let names = commands(&place);
    std::fs::create_dir(place.path("man1")).unwrap();
    place.run(["man", "man1"]).expect(0);
    for name in &names {
        let page = place.path("man1").join(format!("pmctl-{name}.1"));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(
            page.contains(".SH DESCRIPTION") && page.contains(".SH OPTIONS"),
            "{name}"
        );
        let help = place.run([name.as_str(), "--help"]).expect(0);
        assert!(help.contains("Usage: pmctl "), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100), "{help}");
    }
    let page = place.run(["man"]).expect(0);
    assert!(page.contains("Exit codes: 0 all done"), "{page}");
    place
        .run(["man", "none"])
        .expect_error(3, "none: No such file");
}

#[test]
fn shells_complete_every_command() {
    let place = Place::empty();
    let names = commands(&place);
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(["completions", shell]).expect(0);
        for name in &names {
            assert!(script.contains(name.as_str()), "{shell} {name}");
        }
    }
    place
        .run(["completions", "cmd"])
        .expect_error(2, "invalid value 'cmd'");
}
