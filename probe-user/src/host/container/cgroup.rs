//! Which container, machine or service a process belongs to, by the path of its cgroup: pure, from `/proc/PID/cgroup`.

/// What a process belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resident {
    /// A container with this id.
    Container {
        /// Its id.
        id: String,
        /// The runtime.
        runtime: &'static str,
    },
    /// A machine of systemd-nspawn or libvirt.
    Machine(String),
    /// A service of systemd.
    Unit(String),
}

/// How the scope of a container begins, and the runtime that uses that. What is not here is named by its slice.
const SCOPES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    ("libpod-", "podman"),
    ("crio-", "cri-o"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
];

/// Returns what a process with this `/proc/PID/cgroup` belongs to; `None` if its cgroup is that of a session, or of
/// nothing.
pub(super) fn resident(text: &str) -> Option<Resident> {
    let paths: Vec<&str> = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    let of = |judge: fn(&str) -> Option<Resident>| paths.iter().find_map(|path| judge(path));
    of(container).or_else(|| of(machine)).or_else(|| of(unit))
}

fn container(path: &str) -> Option<Resident> {
    let mut parts = path.split('/').rev();
    parts.find_map(|part| {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        // conmon watches a container from outside it.
        if name.contains("conmon") {
            return None;
        }
        let scope = SCOPES.iter().find_map(|(begin, runtime)| Some((name.strip_prefix(begin)?, *runtime)));
        // containerd's plugin writes `slice:cri-containerd:id` if systemd does not make the cgroups.
        let (id, runtime) = scope.unwrap_or_else(|| (name.rsplit(':').next().unwrap_or(name), by_slice(path)));
        is_id(id).then(|| Resident::Container { id: id.to_owned(), runtime })
    })
}

/// Returns the runtime of a container whose cgroup is named by its id alone.
fn by_slice(path: &str) -> &'static str {
    match path {
        path if path.contains("libpod") => "podman",
        path if path.contains("docker") => "docker",
        path if path.contains("crio") => "cri-o",
        _ => "containerd",
    }
}

/// Reports whether it is the id of a container: 64 digits.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn machine(path: &str) -> Option<Resident> {
    path.split('/').find_map(|part| {
        let service = part.strip_prefix("systemd-nspawn@").and_then(|name| name.strip_suffix(".service"));
        let scope = || part.strip_prefix("machine-").and_then(|name| name.strip_suffix(".scope"));
        service.or_else(scope).map(|name| Resident::Machine(unescaped(name)))
    })
}

/// Returns the service nearest to the process.
fn unit(path: &str) -> Option<Resident> {
    let service = path.split('/').rev().find(|part| part.ends_with(".service") && !part.starts_with("user@"))?;
    Some(Resident::Unit(unescaped(service)))
}

/// Undoes what systemd does to names (`systemd-escape`): `\x2d` is a dash.
fn unescaped(name: &str) -> String {
    name.replace("\\x2d", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a4b5c6d7e8f900112233445566778899aabbccddeeff00112233445566778";

    fn of(path: &str) -> Option<Resident> {
        resident(&format!("0::{path}\n"))
    }

    fn container(runtime: &'static str) -> Option<Resident> {
        Some(Resident::Container { id: ID.to_owned(), runtime })
    }

    #[test]
    fn a_containers_cgroup_tells_its_id_and_whose_it_is() {
        for (path, runtime) in [
            (format!("/system.slice/docker-{ID}.scope"), "docker"),
            (format!("/docker/{ID}"), "docker"),
            (format!("/machine.slice/libpod-{ID}.scope/container"), "podman"),
            (format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"), "containerd"),
            (format!("/kubepods/besteffort/pod1/{ID}"), "containerd"),
            (format!("/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"), "cri-o"),
            (format!("/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}"), "containerd"),
        ] {
            assert_eq!(of(&path), container(runtime), "{path}");
        }
    }

    #[test]
    fn the_older_hierarchies_tell_it_as_well() {
        let text = format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n");
        assert_eq!(resident(&text), container("docker"));
    }

    #[test]
    fn a_machine_and_a_service_have_their_names_and_a_session_has_none() {
        assert_eq!(of("/machine.slice/systemd-nspawn@web.service/payload"), Some(Resident::Machine("web".into())));
        assert_eq!(of("/machine.slice/machine-my\\x2dvm.scope"), Some(Resident::Machine("my-vm".into())));
        assert_eq!(of("/system.slice/openvpn@a.service"), Some(Resident::Unit("openvpn@a.service".into())));
        assert_eq!(of("/user.slice/user-0.slice/session-1.scope"), None);
        assert_eq!(of("/user.slice/user-1000.slice/user@1000.service/app.slice"), None);
        assert_eq!(of("/machine.slice/libpod-conmon-abc.scope"), None);
        assert_eq!(of("/"), None);
    }
}
