//! The wire contract stays as it is: every field and enum value with its number, presence, type and default, as they are
//! in the public protocol, is listed in `contract.lock`. After an addition, check it against the public `.proto` files
//! and run `UPDATE_CONTRACT=1 cargo test -p meson-mesos --test contract`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::collections::BTreeSet;
use std::path::Path;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind};

const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract.lock");

#[test]
fn the_contract_is_as_it_was() {
    let now = contract();
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        let text: Vec<_> = now.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(LOCK, text.concat()).unwrap();
    }
    assert!(Path::new(LOCK).exists(), "{LOCK} is missing");
    let text = std::fs::read_to_string(LOCK).unwrap();
    let locked: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let gone: Vec<_> = locked.difference(&now).collect();
    assert!(gone.is_empty(), "changed or gone, which breaks peers: {gone:#?}");
    let new: Vec<_> = now.difference(&locked).collect();
    assert!(new.is_empty(), "not listed yet: {new:#?}");
}

fn contract() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(meson_mesos::v1::DESCRIPTORS).unwrap();
    let fields = pool
        .all_messages()
        .filter(|message| message.full_name().starts_with("mesos."))
        .flat_map(|message| message.fields().map(|field| line(&field)).collect::<Vec<_>>());
    let values = pool.all_enums().flat_map(|all| {
        let name = all.full_name().to_owned();
        all.values().map(|value| format!("{name}.{} = {}", value.name(), value.number())).collect::<Vec<_>>()
    });
    fields.chain(values.filter(|line| line.starts_with("mesos."))).collect()
}

fn line(field: &FieldDescriptor) -> String {
    let cardinality = match field.cardinality() {
        Cardinality::Optional => "optional",
        Cardinality::Required => "required",
        Cardinality::Repeated => "repeated",
    };
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let default = field.field_descriptor_proto().default_value.as_ref();
    let default = default.map(|value| format!(" [{value}]")).unwrap_or_default();
    let packed = if field.is_packed() { " packed" } else { "" };
    let choice = field.containing_oneof().map(|choice| format!(" of {}", choice.name())).unwrap_or_default();
    format!("{} = {} {cardinality} {kind}{packed}{default}{choice}", field.full_name(), field.number())
}
