//! Every form of a release of a small program: the same bytes twice, and taken by what installs it.

use super::{
    contents::{Piece, ReleaseContents, Scratch},
    *,
};

fn piece(name: &str, text: &str) -> Piece {
    Piece { name: name.to_owned(), bytes: text.as_bytes().to_vec() }
}

fn release(epoch: u32) -> Release {
    let contents = ReleaseContents {
        program: piece("probe", "#!/bin/sh\necho probe\n"),
        pages: vec![piece("probe.1", ".TH PROBE 1\n"), piece("probe-filter-add.1", ".TH PROBE-FILTER-ADD 1\n")],
        completions: [piece("probe", "bash"), piece("_probe", "zsh"), piece("probe.fish", "fish")],
        licences: vec![piece("LICENSE-MIT", "as you like")],
        units: vec![piece("probe-observe@.service", "[Unit]\n")],
    };
    let revision = Revision { commit: "0123456789ab".to_owned(), is_changed: true, epoch };
    Release { target: ReleaseTarget::named(None).expect("this machine is one"), revision, contents }
}

type Form = fn(&Release) -> Result<Vec<u8>>;

const FORMS: [(&str, Form); 4] = [
    ("tar", |release| tarball::of_release(&release.contents, "probe", release.revision.epoch)),
    ("deb", deb::package),
    ("rpm", rpm::package),
    ("image", |release| image::archive(release, &release.contents.program.bytes)),
];

#[test]
fn the_same_contents_are_the_same_bytes_in_every_form() {
    for (name, form) in FORMS {
        let bytes = form(&release(1_796_092_767)).unwrap();
        assert!(bytes == form(&release(1_796_092_767)).unwrap(), "{name} differs from one time to the next");
        assert!(bytes != form(&release(1_796_092_768)).unwrap(), "{name} does not have the time of its commit");
    }
}

#[test]
fn packages_install_and_leave_nothing_and_the_image_fits_its_digests() {
    let (release, scratch) = (release(1_796_092_767), Scratch::new().unwrap());
    let [deb, rpm, image] = ["probe.deb", "probe.rpm", "probe.oci.tar"].map(|name| scratch.0.join(name));
    fs::write(&deb, deb::package(&release).unwrap()).unwrap();
    fs::write(&rpm, rpm::package(&release).unwrap()).unwrap();
    verify::packages::deb(&deb, &scratch.0).unwrap();
    verify::packages::rpm(&rpm, &scratch.0).unwrap();

    let program = &release.contents.program.bytes;
    let bytes = image::archive(&release, program).unwrap();
    fs::write(&image, &bytes).unwrap();
    verify::image::check(&image, program).unwrap();
    assert!(verify::image::check(&image, b"another").is_err());
    let at = bytes.windows(6).rposition(|window| window == b"layers").expect("a manifest or a configuration");
    let mut damaged = bytes;
    damaged[at] = b'L';
    fs::write(&image, damaged).unwrap();
    assert!(verify::image::check(&image, program).is_err());
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_before_the_build() {
    let error = format!("{:#}", writable(Path::new("/proc/probe-dist")).unwrap_err());
    assert!(error.contains("cannot write to /proc/probe-dist") && error.contains("--out"), "{error}");
}

#[test]
fn a_component_has_its_licence_and_its_sum() {
    let part = metadata::Part {
        name: "a".into(),
        version: "1.0.0+x".into(),
        licence: "MIT".into(),
        sha256: Some("ab".into()),
        folder: "/".into(),
    };
    let metadata = Metadata { parts: vec![part], rust: "1.95.0".into() };
    let list: serde_json::Value = serde_json::from_slice(&components::list(&release(0), &metadata).unwrap()).unwrap();
    assert_eq!(list["metadata"]["timestamp"], "1970-01-01T00:00:00Z");
    assert_eq!(list["components"][0]["purl"], "pkg:cargo/a@1.0.0%2Bx");
    assert_eq!(list["components"][0]["hashes"][0]["content"], "ab");
    assert_eq!(
        list["dependencies"][0]["dependsOn"].as_array().map(Vec::len),
        list["components"].as_array().map(Vec::len)
    );
}
