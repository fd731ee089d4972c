//! Fetches the URIs of a command into the sandbox: files by path, `file://` and `http://`; made executable or unpacked.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use meson_mesos::v1::command_info::Uri;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// How long a download may take.
const DOWNLOAD_MAX: Duration = Duration::from_secs(120);

/// Fetches all.
pub(super) async fn fetch_all(uris: &[Uri], sandbox: &Path) -> anyhow::Result<()> {
    for uri in uris {
        fetch(uri, sandbox).await.with_context(|| format!("Failed to fetch '{}'", uri.value))?;
    }
    Ok(())
}

async fn fetch(uri: &Uri, sandbox: &Path) -> anyhow::Result<()> {
    let path = uri.value.split(['?', '#']).next().unwrap_or_default();
    let name = match &uri.output_file {
        Some(name) => name.as_str(),
        None => path.rsplit('/').next().unwrap_or_default(),
    };
    if name.is_empty()
        || Path::new(name).components().any(|part| !matches!(part, std::path::Component::Normal(_)))
    {
        bail!("`{name}` is no file name within the sandbox");
    }
    let target = sandbox.join(name);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if let Some(rest) = uri.value.strip_prefix("http://") {
        let body = tokio::time::timeout(DOWNLOAD_MAX, download(rest))
            .await
            .context("the download took too long")??;
        fs::write(&target, body)?;
    } else if uri.value.contains("://") && !uri.value.starts_with("file://") {
        bail!("the stand-in fetches paths, file:// and http:// only");
    } else {
        fs::copy(uri.value.trim_start_matches("file://"), &target)?;
    }
    if uri.executable.unwrap_or(false) {
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
        return Ok(());
    }
    if uri.extract.unwrap_or(true) {
        let sandbox = sandbox.to_owned();
        return tokio::task::spawn_blocking(move || extract(&target, &sandbox)).await?;
    }
    Ok(())
}

/// Unpacks what its name says is an archive.
fn extract(file: &PathBuf, sandbox: &Path) -> anyhow::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with(".tar") {
        tar::Archive::new(File::open(file)?).unpack(sandbox)?;
    } else if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
        tar::Archive::new(flate2::read::GzDecoder::new(File::open(file)?)).unpack(sandbox)?;
    } else if name.ends_with(".zip") {
        zip::ZipArchive::new(File::open(file)?)?.extract(sandbox)?;
    } else if let Some(bare) = name.strip_suffix(".gz") {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(File::open(file)?).read_to_end(&mut bytes)?;
        fs::write(sandbox.join(bare), bytes)?;
    }
    Ok(())
}

/// A small HTTP/1.0 client: the connection's end is the body's.
async fn download(address: &str) -> anyhow::Result<Vec<u8>> {
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut stream = TcpStream::connect(&with_port).await?;
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let end =
        answer.windows(4).position(|window| window == b"\r\n\r\n").context("the answer was cut short")?;
    let body = answer.split_off(end + 4);
    let head = String::from_utf8_lossy(&answer);
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("the server answered {}", head.lines().next().unwrap_or_default());
    }
    Ok(body)
}
