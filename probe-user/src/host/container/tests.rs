//! Containers are found in folders laid down as the runtimes lay them.

use std::{fs, path::PathBuf};

use super::*;

const DOCKER: &str = "3f2a4b5c6d7e8f900112233445566778899aabbccddeeff00112233445566778";
const STOPPED: &str = "3f2affff6d7e8f900112233445566778899aabbccddeeff00112233445566778";
const PODMAN: &str = "aa00000000000000000000000000000000000000000000000000000000000001";
const POD: &str = "bb00000000000000000000000000000000000000000000000000000000000002";

/// A root folder with the state of every runtime; gone when dropped.
struct Root(PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Root {
    fn new(name: &str) -> Self {
        let root = Self(std::env::temp_dir().join(format!("probe-{name}-{}", std::process::id())));
        let docker = |id: &str, name: &str, running: bool, pid: u32| {
            let state = format!(r#"{{"ID":"{id}","Name":"/{name}","State":{{"Running":{running},"Pid":{pid}}}}}"#);
            root.put(&format!("var/lib/docker/containers/{id}/config.v2.json"), &state);
        };
        docker(DOCKER, "web", true, 4001);
        docker(STOPPED, "old", false, 0);
        let containers = format!(r#"[{{"id":"{PODMAN}","names":["db"]}}]"#);
        root.put("var/lib/containers/storage/overlay-containers/containers.json", &containers);
        root.put(&format!("run/containers/storage/overlay-containers/{PODMAN}/userdata/pidfile"), "4002\n");
        let tasks = "run/containerd/io.containerd.runtime.v2.task";
        root.put(&format!("{tasks}/moby/{DOCKER}/init.pid"), "4001");
        root.put(&format!("{tasks}/k8s.io/{POD}/init.pid"), "4003");
        let annotations =
            r#"{"annotations":{"io.kubernetes.cri.sandbox-name":"dns-1","io.kubernetes.cri.container-name":"dns"}}"#;
        root.put(&format!("{tasks}/k8s.io/{POD}/config.json"), annotations);
        for pid in [4001, 4002, 4003] {
            root.put(&format!("proc/{pid}/cgroup"), &format!("0::/system.slice/docker-{DOCKER}.scope\n"));
        }
        root
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    }

    fn find(&self, wanted: &str) -> Result<(String, u32), ContainerError> {
        find(all(&self.0), wanted).map(|(container, pid)| (container.to_string(), pid))
    }
}

#[test]
fn each_runtimes_container_is_found_by_its_name_and_by_the_start_of_its_id() {
    let root = Root::new("found");
    for (wanted, text, pid) in [
        ("web", "container web (docker)", 4001),
        (&DOCKER[..5], "container web (docker)", 4001),
        (DOCKER, "container web (docker)", 4001),
        ("db", "container db (podman)", 4002),
        ("aa0", "container db (podman)", 4002),
        ("dns-1/dns", "container dns-1/dns (containerd)", 4003),
        ("bb", "container dns-1/dns (containerd)", 4003),
    ] {
        assert_eq!(root.find(wanted).ok(), Some((text.to_owned(), pid)), "{wanted}");
    }
    assert_eq!(all(&root.0).len(), 4, "docker's are containerd's as well, and count once");
}

#[test]
fn what_cannot_be_entered_is_one_sentence_with_its_fix() {
    let root = Root::new("refused");
    let refused = |wanted: &str| {
        let error = root.find(wanted).expect_err("refused");
        (error.to_string(), error.fix())
    };
    let (error, fix) = refused("old");
    assert_eq!(
        (error.as_str(), fix.as_str()),
        ("container old (docker) is not running, so it has no network namespace", "docker start old")
    );
    let (error, fix) = refused("nothing");
    assert!(error.starts_with("there is no container 'nothing' on this host, but container web (docker), "), "{error}");
    assert!(fix.contains("docker ps") && fix.contains("--netns"), "{fix}");
    root.put(
        &format!("var/lib/docker/containers/{}/config.v2.json", "aa1"),
        &format!(r#"{{"ID":"aa1{}","Name":"/two","State":{{"Running":true,"Pid":4001}}}}"#, &DOCKER[3..]),
    );
    let (error, fix) = refused("aa");
    assert_eq!(error, "'aa' matches 2 containers: container two (docker), container db (podman)");
    assert_eq!(fix, "give more of its id");
}

#[test]
fn one_that_runs_is_meant_before_one_that_does_not() {
    let root = Root::new("running");
    assert_eq!(root.find("3f2a").ok(), Some(("container web (docker)".to_owned(), 4001)));
}

#[test]
fn a_container_whose_process_is_gone_does_not_run() {
    let root = Root::new("gone");
    fs::remove_dir_all(root.0.join("proc/4002")).expect("it is there");
    let error = root.find("db").expect_err("gone").to_string();
    assert_eq!(error, "container db (podman) is not running, so it has no network namespace");
}

#[test]
fn the_words_of_inspect_tell_a_container() {
    let told = state::told(&format!("{DOCKER} 77 /web\n"), "docker").expect("a container");
    assert_eq!((told.to_string().as_str(), told.pid), ("container web (docker)", Some(77)));
    assert_eq!(state::told(&format!("{DOCKER} 0 /web\n"), "docker").expect("one").pid, None);
}

#[test]
fn a_process_is_called_by_the_name_of_its_container() {
    let root = Root::new("resident");
    assert_eq!(resident(&root.0, 4001, 1).as_deref(), Some("container web (docker)"));
    assert_eq!(resident(&root.0, 4001, 4002), None, "of the same container");
    root.put("proc/4009/cgroup", &format!("0::/machine.slice/libpod-{POD}.scope\n"));
    assert_eq!(resident(&root.0, 4009, 1).as_deref(), Some("container dns-1/dns (containerd)"));
    root.put("proc/4010/cgroup", &format!("0::/machine.slice/libpod-{}.scope\n", POD.replace('b', "c")));
    assert_eq!(resident(&root.0, 4010, 1).as_deref(), Some("container cc0000000000 (podman)"));
    assert_eq!(resident(&root.0, 4011, 1), None);
}
