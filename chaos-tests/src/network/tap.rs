//! TAP devices: network devices whose other end is a file descriptor of this process.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use nix::libc;

/// The kernel's interface to TAP devices. The only unsafe code here: it has no safe form.
#[allow(unsafe_code)]
mod kernel {
    use nix::libc;

    nix::ioctl_write_ptr_bad!(
        /// Makes the device that `request` describes, in the network namespace of the calling thread.
        tunsetiff,
        nix::request_code_write!(b'T', 202, size_of::<libc::c_int>()),
        libc::ifreq
    );

    /// A request for a TAP device of this name, without extra headers on its frames.
    pub fn request(name: &str) -> libc::ifreq {
        // SAFETY: all fields are numbers or arrays of them, for which zero is valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let limit = request.ifr_name.len() - 1;
        for (place, byte) in request.ifr_name.iter_mut().take(limit).zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        request
    }

    /// Turns an open `/dev/net/tun` into the device.
    pub fn attach(descriptor: libc::c_int, request: &libc::ifreq) -> nix::Result<libc::c_int> {
        // SAFETY: the descriptor is open for the length of the call, and the request is a whole `ifreq`.
        unsafe { tunsetiff(descriptor, request) }
    }
}

/// Makes a TAP device in the network namespace of this thread. It lives as long as the file; reading and writing never
/// block.
///
/// # Errors
/// When the kernel refuses.
pub fn open(name: &str) -> anyhow::Result<File> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    kernel::attach(file.as_raw_fd(), &kernel::request(name))?;
    Ok(file)
}
