//! The gRPC contracts keep their style and only ever grow.
//!
//! `proto/meson` is compiled anew here. Everything that travels is listed in `tests/contracts.lock`: what is listed
//! stays as it is. After an addition run `UPDATE_CONTRACTS=1 cargo test -p meson-tests --test contracts`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use meson_tests::{Findings, root};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
};

/// Numbers of fields in descriptor.proto, as `SourceCodeInfo` paths use them.
mod tag {
    pub const FILE_MESSAGE: i32 = 4;
    pub const FILE_ENUM: i32 = 5;
    pub const FILE_SERVICE: i32 = 6;
    pub const MESSAGE_NESTED: i32 = 3;
    pub const MESSAGE_ENUM: i32 = 4;
    pub const SERVICE_METHOD: i32 = 2;
}

/// From before this check: they are to get a comment, and then to leave this list, which only shrinks.
const COMMENTS_OWED: [&str; 13] = [
    "meson.v1.AttemptProgress",
    "meson.v1.AttemptState",
    "meson.v1.Executor",
    "meson.v1.Heartbeat",
    "meson.v1.KnownAttempt",
    "meson.v1.LogRecord",
    "meson.v1.LogStream",
    "meson.v1.Member",
    "meson.v1.Node",
    "meson.v1.NodeStatus",
    "meson.v1.ReplicaRole",
    "meson.v1.Run",
    "meson.v1.RunStatus",
];

/// A message or enum with the place it was declared at.
struct Declared<T> {
    full_name: String,
    path: Vec<i32>,
    value: T,
}

#[test]
fn packages_are_versioned_and_match_their_folder() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for file in contracts()? {
        let folder = file.name().rsplit_once('/').map_or("", |(folder, _)| folder).replace('/', ".");
        if folder != file.package() {
            findings.add(file.name(), format!("package {}", file.package()), "name it after its folder");
        }
        let last = file.package().rsplit('.').next().unwrap_or_default();
        if last.strip_prefix('v').is_none_or(|version| version.parse::<u32>().is_err()) {
            findings.add(
                file.name(),
                format!("package {}", file.package()),
                "end it with a version, like `v1`",
            );
        }
    }
    findings.conclude()
}

#[test]
fn services_and_calls_are_named_alike() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    let mut used = BTreeSet::new();
    for file in contracts()? {
        for service in &file.service {
            if !service.name().ends_with("Service") {
                findings.add(file.name(), service.name(), "end the name of a service with `Service`");
            }
            for method in &service.method {
                for (name, ending) in [(method.input_type(), "Request"), (method.output_type(), "Response")] {
                    let wanted = format!(".{}.{}{ending}", file.package(), method.name());
                    let place = format!("{}: {}.{}", file.name(), service.name(), method.name());
                    if name != wanted {
                        findings.add(&place, format!("uses {name}"), &format!("call it {wanted}"));
                    }
                    if !used.insert(name.to_owned()) {
                        findings.add(
                            &place,
                            format!("{name} is used twice"),
                            "give each call its own messages",
                        );
                    }
                }
            }
        }
    }
    findings.conclude()
}

#[test]
fn names_have_the_usual_case() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for file in contracts()? {
        for message in messages(&file) {
            if !is_pascal(message.value.name()) {
                findings.add(file.name(), &message.full_name, "name messages in PascalCase");
            }
            for field in &message.value.field {
                if !is_lower_snake(field.name()) {
                    let place = format!("{}.{}", message.full_name, field.name());
                    findings.add(file.name(), place, "name fields in lower_snake_case");
                }
            }
        }
        for declared in enums(&file) {
            check_enum(&file, &declared, &mut findings);
        }
    }
    findings.conclude()
}

fn check_enum(file: &FileDescriptorProto, declared: &Declared<EnumDescriptorProto>, findings: &mut Findings) {
    let name = declared.value.name();
    if !is_pascal(name) {
        findings.add(file.name(), &declared.full_name, "name enums in PascalCase");
    }
    let prefix = format!("{}_", upper_snake(name));
    for value in &declared.value.value {
        if !value.name().starts_with(&prefix) {
            findings.add(file.name(), value.name(), &format!("begin it with {prefix}"));
        }
    }
    let zero = format!("{prefix}UNSPECIFIED");
    if declared.value.value.first().is_none_or(|value| value.number() != 0 || value.name() != zero) {
        findings.add(file.name(), &declared.full_name, &format!("begin with {zero} = 0"));
    }
}

#[test]
fn everything_is_explained() -> anyhow::Result<()> {
    let mut findings = Findings::default();
    for file in contracts()? {
        let mut things = Vec::new();
        for message in messages(&file) {
            // The comment of a call explains its messages.
            if !message.full_name.ends_with("Request") && !message.full_name.ends_with("Response") {
                things.push((message.full_name, message.path));
            }
        }
        things.extend(enums(&file).into_iter().map(|declared| (declared.full_name, declared.path)));
        for (index, service) in (0..).zip(&file.service) {
            let path = vec![tag::FILE_SERVICE, index];
            for (method_index, method) in (0..).zip(&service.method) {
                let path = [path.as_slice(), &[tag::SERVICE_METHOD, method_index]].concat();
                things.push((format!("{}.{}", service.name(), method.name()), path));
            }
            things.push((service.name().to_owned(), path));
        }
        for (name, path) in things {
            let owed = COMMENTS_OWED.contains(&name.as_str());
            match has_leading_comment(&file, &path) {
                false if !owed => {
                    findings.add(
                        file.name(),
                        format!("{name} has no comment"),
                        "say above it what it is for",
                    );
                }
                true if owed => findings.add(&name, "has its comment now", "take it out of COMMENTS_OWED"),
                _ => {}
            }
        }
    }
    findings.conclude()
}

#[test]
fn contracts_only_grow() -> anyhow::Result<()> {
    let path = root().join("tests/contracts.lock");
    let mut now = BTreeSet::new();
    for file in contracts()? {
        list_file(&file, &mut now);
    }
    let locked: BTreeSet<String> =
        std::fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    let mut findings = Findings::default();
    for lost in locked.difference(&now) {
        let remedy = "put it back as it was; a new meaning takes a new name and number";
        findings.add("tests/contracts.lock", format!("`{lost}` was removed or changed"), remedy);
    }
    if std::env::var_os("UPDATE_CONTRACTS").is_some() && findings.as_slice().is_empty() {
        let lines: Vec<&str> = now.iter().map(String::as_str).collect();
        std::fs::write(&path, lines.join("\n") + "\n")?;
        return Ok(());
    }
    let added: Vec<String> = now.difference(&locked).map(|line| format!("\n    {line}")).collect();
    if !added.is_empty() {
        let remedy = "if they are meant: UPDATE_CONTRACTS=1 cargo test -p meson-tests --test contracts";
        findings.add("tests/contracts.lock", format!("lacks{}\n   ", added.concat()), remedy);
    }
    findings.conclude()
}

/// All contracts of our own, with their comments.
fn contracts() -> anyhow::Result<Vec<FileDescriptorProto>> {
    let proto = root().join("proto");
    let mut paths = Vec::new();
    collect_protos(&proto.join("meson"), &mut paths)?;
    paths.sort();
    let files = protox::compile(&paths, [&proto])?.file;
    Ok(files.into_iter().filter(|file| file.package().starts_with("meson.")).collect())
}

fn collect_protos(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect_protos(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Messages of a file, nested ones too; the entries that stand for maps are left out.
fn messages(file: &FileDescriptorProto) -> Vec<Declared<DescriptorProto>> {
    let mut found = Vec::new();
    let mut open: Vec<_> = (0..)
        .zip(&file.message_type)
        .map(|(index, message)| (file.package().to_owned(), vec![tag::FILE_MESSAGE, index], message))
        .collect();
    while let Some((scope, path, message)) = open.pop() {
        if message.options.as_ref().is_some_and(|options| options.map_entry()) {
            continue;
        }
        let full_name = format!("{scope}.{}", message.name());
        for (index, nested) in (0..).zip(&message.nested_type) {
            let nested_path = [path.as_slice(), &[tag::MESSAGE_NESTED, index]].concat();
            open.push((full_name.clone(), nested_path, nested));
        }
        found.push(Declared { full_name, path, value: message.clone() });
    }
    found
}

/// Enums of a file, nested ones too.
fn enums(file: &FileDescriptorProto) -> Vec<Declared<EnumDescriptorProto>> {
    let top = (0..).zip(&file.enum_type).map(|(index, value)| Declared {
        full_name: format!("{}.{}", file.package(), value.name()),
        path: vec![tag::FILE_ENUM, index],
        value: value.clone(),
    });
    let mut found: Vec<_> = top.collect();
    for message in messages(file) {
        for (index, value) in (0..).zip(&message.value.enum_type) {
            let full_name = format!("{}.{}", message.full_name, value.name());
            let path = [message.path.as_slice(), &[tag::MESSAGE_ENUM, index]].concat();
            found.push(Declared { full_name, path, value: value.clone() });
        }
    }
    found
}

fn has_leading_comment(file: &FileDescriptorProto, path: &[i32]) -> bool {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    locations
        .filter(|location| location.path == path)
        .any(|location| !location.leading_comments().trim().is_empty())
}

/// One line for each thing that travels.
fn list_file(file: &FileDescriptorProto, lines: &mut BTreeSet<String>) {
    for message in messages(file) {
        for field in &message.value.field {
            lines.insert(field_line(&message, field));
        }
    }
    for declared in enums(file) {
        for value in &declared.value.value {
            lines.insert(format!("enum {} {} = {}", declared.full_name, value.name(), value.number()));
        }
    }
    for service in &file.service {
        for method in &service.method {
            lines.insert(method_line(&format!("{}.{}", file.package(), service.name()), method));
        }
    }
}

fn method_line(service: &str, method: &MethodDescriptorProto) -> String {
    let stream = |streaming: bool| if streaming { "stream " } else { "" };
    format!(
        "rpc {service}.{}({}{}) returns ({}{})",
        method.name(),
        stream(method.client_streaming()),
        method.input_type(),
        stream(method.server_streaming()),
        method.output_type(),
    )
}

fn field_line(message: &Declared<DescriptorProto>, field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum | Type::Group => {
            map_type(message, field).unwrap_or(field.type_name().into())
        }
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let group =
        field.oneof_index.and_then(|index| message.value.oneof_decl.get(usize::try_from(index).ok()?));
    let label = match group {
        _ if field.proto3_optional() => "optional ".to_owned(),
        Some(group) => format!("oneof {} ", group.name()),
        None if field.label() == Label::Repeated && !kind.starts_with("map<") => "repeated ".to_owned(),
        None => String::new(),
    };
    format!("field {} {label}{kind} {} = {}", message.full_name, field.name(), field.number())
}

/// `map<…>` where the field's type is one of the entries that stand for maps.
fn map_type(message: &Declared<DescriptorProto>, field: &FieldDescriptorProto) -> Option<String> {
    let name = field.type_name().rsplit('.').next()?;
    let entry = message.value.nested_type.iter().find(|nested| nested.name() == name)?;
    entry.options.as_ref().filter(|options| options.map_entry())?;
    let part = |field: &FieldDescriptorProto| match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    Some(format!("map<{}, {}>", part(entry.field.first()?), part(entry.field.get(1)?)))
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric())
}

fn is_lower_snake(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

/// `RunStatus` as `RUN_STATUS`.
fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}
