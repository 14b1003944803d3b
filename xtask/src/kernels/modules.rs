//! Which modules of a kernel the lab and the tests need, and the order in which they can be loaded.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// What the tests and the lab use: devices, nftables and iptables, queues, socket diagnostics. If a kernel does not have one
/// as a module, it is built in, or the case that needs it is left out with a message.
const WANTED: &str = "
    veth dummy bridge 8021q bonding ifb vxlan macvlan vrf tun ip_gre ip6_gre ipip sit
    nf_tables nft_ct nft_nat nft_masq nft_redir nft_reject nft_reject_inet nft_reject_ipv4 nft_reject_ipv6
    nft_reject_netdev nft_limit nft_log nft_numgen nft_hash nft_chain_nat nft_fib_inet nft_fib_ipv4 nft_fib_ipv6
    nft_dup_netdev nft_fwd_netdev nft_compat nft_quota nft_socket
    nf_conntrack nf_conntrack_netlink nf_nat nfnetlink_log nf_log_syslog
    iptable_filter iptable_raw iptable_mangle iptable_nat ip6table_filter ip6table_raw ip6table_mangle ip6table_nat
    xt_conntrack xt_tcpudp xt_mark xt_MASQUERADE ipt_REJECT ip6t_REJECT xt_limit
    sch_netem sch_tbf sch_htb sch_ingress sch_prio cls_bpf cls_u32 cls_matchall cls_flower
    act_gact act_bpf act_mirred act_pedit act_csum inet_diag raw_diag
";

/// A module, ready to load.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// Returns the wanted modules below a folder and their dependencies, each after what it needs.
///
/// # Errors
/// If a module can't be read or unpacked, or a dependency is missing.
pub(crate) fn in_order(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut ordered = Vec::new();
    for name in WANTED.split_whitespace() {
        if files.contains_key(&plain(name)) {
            add(&plain(name), &files, &mut ordered)?;
        }
    }
    if ordered.is_empty() {
        bail!("{} holds none of the modules that the lab needs", folder.display());
    }
    Ok(ordered)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, ordered: &mut Vec<Module>) -> Result<()> {
    if ordered.iter().any(|module| module.name == name) {
        return Ok(());
    }
    // A dependency without a module file is built in.
    let Some(file) = files.get(name) else { return Ok(()) };
    let content = read(file)?;
    for needed in needs(&content) {
        add(&needed, files, ordered)?;
    }
    ordered.push(Module { name: name.to_owned(), content });
    Ok(())
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find(&path, files)?;
        } else if let Some((stem, _)) = path.file_name().and_then(|name| name.to_str()?.split_once(".ko")) {
            files.insert(plain(stem), path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(file).with_context(|| format!("cannot read {}", file.display())),
    };
    let output = Command::new(program).arg("-dc").arg(file).output();
    let output =
        output.with_context(|| format!("cannot start {program}, which unpacks kernel modules — install it"))?;
    if !output.status.success() {
        bail!("{program} cannot unpack {}", file.display());
    }
    Ok(output.stdout)
}

/// Returns the dependencies that a module names in its `.modinfo` section, which holds NUL-terminated `key=value` texts.
fn needs(content: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = content.windows(key.len()).position(|window| window == key) else { return Vec::new() };
    let list = content[at + key.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(plain).collect()
}

/// Replaces `-` by `_` in a module's name: files use either, and the kernel treats both as `_`.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_read_from_its_own_words() {
        let content = b"\x7fELF..license=GPL\0depends=nf_tables,nf-conntrack\0name=nft_ct\0";
        assert_eq!(needs(content), ["nf_tables", "nf_conntrack"]);
        assert_eq!(needs(b"license=GPL\0depends=\0name=veth\0"), [""; 0]);
        assert_eq!(needs(b"no module"), [""; 0]);
    }

    #[test]
    fn each_module_comes_behind_what_it_needs_and_once() {
        let folder = std::env::temp_dir().join(format!("probe-xtask-modules-{}", std::process::id()));
        fs::create_dir_all(folder.join("net")).unwrap();
        let put = |name: &str, needs: &str| {
            fs::write(folder.join("net").join(name), format!("x\0depends={needs}\0")).unwrap();
        };
        put("nft_ct.ko", "nf_tables,nf-conntrack");
        put("nft_nat.ko", "nf_nat,nf_tables");
        put("nf_nat.ko", "nf_conntrack,libcrc32c");
        put("nf_tables.ko", "");
        put("nf-conntrack.ko", "");
        put("unwanted.ko", "");
        let names: Vec<_> = in_order(&folder).unwrap().into_iter().map(|module| module.name).collect();
        fs::remove_dir_all(folder).unwrap();
        assert_eq!(names, ["nf_tables", "nf_conntrack", "nft_ct", "nf_nat", "nft_nat"]);
    }
}
