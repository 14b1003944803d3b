//! What runtimes write about their containers: docker's `config.v2.json`, podman's and CRI-O's storage, containerd's
//! tasks.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::Container;

/// Returns docker's containers.
pub(super) fn docker(root: &Path) -> Vec<Container> {
    let of = |folder: PathBuf| {
        let state = json(&folder.join("config.v2.json"))?;
        let pid = state["State"]["Pid"].as_u64().filter(|_| state["State"]["Running"] == true);
        Some(Container {
            id: state["ID"].as_str()?.to_owned(),
            name: state["Name"].as_str().map(|name| name.trim_start_matches('/').to_owned()),
            runtime: "docker",
            pid: pid.and_then(as_pid),
        })
    };
    folders(&root.join("var/lib/docker/containers")).filter_map(of).collect()
}

/// Returns those of podman, root's and of users, and of CRI-O, which share a storage.
pub(super) fn podman(root: &Path) -> Vec<Container> {
    let homes = folders(&root.join("home")).chain([root.join("root")]);
    let of_users = homes.map(|home| home.join(".local/share/containers/storage"));
    let stores = of_users.chain([root.join("var/lib/containers/storage")]);
    let running: BTreeMap<String, PathBuf> = running(root);
    let mut found: Vec<Container> = Vec::new();
    for store in stores {
        let listed = json(&store.join("overlay-containers/containers.json"));
        for entry in listed.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let Some(id) = entry["id"].as_str() else { continue };
            let name = entry["names"].as_array().and_then(|names| names.first()?.as_str()).map(str::to_owned);
            found.push(Container { id: id.to_owned(), name, runtime: "podman", pid: None });
        }
    }
    for (id, userdata) in running {
        let config = json(&userdata.join("config.json")).unwrap_or_default();
        let annotations = &config["annotations"];
        let by_crio = annotations["io.container.manager"] == "cri-o";
        let pid = fs::read_to_string(userdata.join("pidfile")).ok();
        let pid = pid.and_then(|text| text.trim().parse().ok()).filter(|pid| is_alive(root, *pid));
        let at = found.iter().position(|known| known.id == id).unwrap_or_else(|| {
            found.push(Container { id, name: None, runtime: "podman", pid: None });
            found.len() - 1
        });
        let container = &mut found[at];
        container.pid = pid;
        if by_crio {
            container.runtime = "cri-o";
            container.name = pods_name(annotations, "io.kubernetes").or(container.name.take());
        }
    }
    found
}

/// Returns the folders of containers that podman or CRI-O have started, by id.
fn running(root: &Path) -> BTreeMap<String, PathBuf> {
    let of_users = folders(&root.join("run/user")).map(|user| user.join("containers"));
    let stores = of_users.chain([root.join("run/containers/storage")]);
    let found = stores.flat_map(|store| folders(&store.join("overlay-containers")));
    found.filter_map(|folder| Some((folder.file_name()?.to_str()?.to_owned(), folder.join("userdata")))).collect()
}

/// Returns containerd's tasks, of each of its namespaces.
pub(super) fn containerd(root: &Path) -> Vec<Container> {
    let spaces = folders(&root.join("run/containerd/io.containerd.runtime.v2.task"));
    let of = |folder: PathBuf| {
        let pid = fs::read_to_string(folder.join("init.pid")).ok()?.trim().parse().ok();
        let config = json(&folder.join("config.json")).unwrap_or_default();
        let annotations = &config["annotations"];
        let own = annotations["nerdctl/name"].as_str().map(str::to_owned);
        Some(Container {
            id: folder.file_name()?.to_str()?.to_owned(),
            name: own.or_else(|| pods_name(annotations, "io.kubernetes.cri")),
            runtime: "containerd",
            pid: pid.filter(|pid| is_alive(root, *pid)),
        })
    };
    spaces.flat_map(|space| folders(&space)).filter_map(of).collect()
}

/// Returns the name of a pod, with that of the container in it if it is not the pod itself.
fn pods_name(annotations: &Value, prefix: &str) -> Option<String> {
    let text = |name: &str| annotations[format!("{prefix}{name}")].as_str().filter(|text| !text.is_empty());
    let pod = text(".sandbox-name").or_else(|| text(".pod.name"))?;
    let container = text(".container-name").or_else(|| text(".container.name")).filter(|name| *name != "POD");
    Some(container.map_or_else(|| pod.to_owned(), |container| format!("{pod}/{container}")))
}

/// Returns the container in the output of `inspect`: its id, its process, its name.
pub(super) fn told(text: &str, runtime: &'static str) -> Option<Container> {
    let mut words = text.split_whitespace();
    let (id, pid) = (words.next()?.to_owned(), words.next()?.parse::<u64>().ok()?);
    let name = words.next().map(|name| name.trim_start_matches('/').to_owned());
    Some(Container { id, name, runtime, pid: as_pid(pid) })
}

fn as_pid(number: u64) -> Option<u32> {
    u32::try_from(number).ok().filter(|pid| *pid != 0)
}

/// Reports whether there is such a process: the file of a dead container may be left.
fn is_alive(root: &Path, pid: u32) -> bool {
    pid != 0 && root.join(format!("proc/{pid}")).exists()
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    found.sort_unstable();
    found.into_iter()
}
