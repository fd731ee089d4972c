//! Real engines as processes of this machine, on free ports of loopback: HDFS, YARN, Spark, its Thrift server, Podman. For tests
//! and for `make demo-full`; each is ended, and its files are removed, when what stands for it is dropped.
//!
//! They come from the folder that `make engines` makes, which `MESON_ENGINES` names, and from Debian's packages.

mod hadoop;
pub mod hdfs;
pub mod hive;
pub mod podman;
mod ports;
mod process;
pub mod spark;
pub mod yarn;
