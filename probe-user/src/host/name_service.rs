//! Where a statically linked program looks up names of hosts, users and groups.

/// Looks up hosts in /etc/hosts and by DNS, users and groups in /etc/passwd and /etc/group, whatever nsswitch.conf names: its other
/// services are shared libraries of one glibc version, which a static program of another version crashes on. Does nothing in a
/// program that is not static. Must be called before any other thread exists.
pub fn keep_to_what_is_built_in() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    glibc::configure();
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
mod glibc {
    use std::ffi::{CStr, c_char, c_int};

    unsafe extern "C" {
        /// Uses these services for one database, in place of nsswitch.conf (nss.h).
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    /// The services that libc.a holds (glibc 2.34 and later): `nss/nss_module.c`.
    const SERVICES: [(&CStr, &CStr); 3] = [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")];

    pub(super) fn configure() {
        for (database, services) in SERVICES {
            // SAFETY: both strings end in a zero and are never freed; no other thread looks up a name yet.
            let refused = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
            // It refuses only a database or a line that it cannot parse.
            debug_assert_eq!(refused, 0, "glibc knows these words");
        }
    }
}
