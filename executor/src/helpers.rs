//! The helpers by which steps' own code speaks the task contract, in each language. They are part of this program and put
//! where steps find them: `python/` is on the path of Python, `MESON_R` names the R file, and Scala's class path has
//! what the compiler made of its file.

use std::io;
use std::path::Path;

use crate::task::dirs::write_whole;

/// All files, with their paths below the directory of helpers.
const FILES: [(&str, &str); 9] = [
    ("python/meson_sdk/__init__.py", include_str!("../../python/meson_sdk/__init__.py")),
    ("python/meson_sdk/_facts.py", include_str!("../../python/meson_sdk/_facts.py")),
    ("python/meson_sdk/_files.py", include_str!("../../python/meson_sdk/_files.py")),
    ("python/meson_sdk/_json.py", include_str!("../../python/meson_sdk/_json.py")),
    ("python/meson_sdk/_say.py", include_str!("../../python/meson_sdk/_say.py")),
    ("python/meson_sdk/_track.py", include_str!("../../python/meson_sdk/_track.py")),
    ("python/meson_sdk/py.typed", include_str!("../../python/meson_sdk/py.typed")),
    ("meson.R", include_str!("../../r/meson.R")),
    ("Meson.scala", include_str!("../../scala/Meson.scala")),
];

/// Writes them, over those of an earlier version.
///
/// # Errors
/// When the disk refuses.
pub fn write(dir: &Path) -> io::Result<()> {
    for (name, text) in FILES {
        let path = dir.join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        write_whole(&path, text.as_bytes())?;
    }
    Ok(())
}
