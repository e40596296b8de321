//! The folder is the registry.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    num::NonZero,
    ops::Range,
    panic,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
};

use stanch_syntax::{Diagnostic, Position, Severity, unpack};
use stanch_types::ControlRef;

use crate::{
    parse::{parse, parse_tree},
    remediation::{Control, Remediation},
};

/// A file under `catalog/`, known well enough to be chosen without being parsed.
struct Embedded {
    path: &'static str,
    folder: &'static Folder,
    /// Where its text stands in the folder.
    text: Range<usize>,
    /// Where its tree stands there, packed: reading YAML is most of what loading a file takes.
    tree: Range<usize>,
    name: &'static str,
    resources: &'static [&'static str],
    controls: &'static [(&'static str, &'static str)],
}

// `FOLDERS` and `EMBEDDED`.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// What the folders hold, each a zstd frame.
static FRAMES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/frames"));

/// A folder of the embedded catalog, which is decompressed when one of its files is first read.
struct Folder {
    size: usize,
    frame: Range<usize>,
    bytes: OnceLock<Vec<u8>>,
}

impl Folder {
    const fn new(size: usize, frame: Range<usize>) -> Self {
        Self {
            size,
            frame,
            bytes: OnceLock::new(),
        }
    }

    /// A part of what the folder holds. The build wrote what is read here; a test reads all of it.
    fn get(&self, part: Range<usize>) -> &[u8] {
        let bytes = self.bytes.get_or_init(|| {
            let frame = FRAMES.get(self.frame.clone()).unwrap_or_default();
            zstd::bulk::decompress(frame, self.size).unwrap_or_default()
        });
        bytes.get(part).unwrap_or_default()
    }
}

impl Embedded {
    fn text(&self) -> &'static str {
        str::from_utf8(self.folder.get(self.text.clone())).unwrap_or_default()
    }

    fn tree(&self) -> &'static [u8] {
        self.folder.get(self.tree.clone())
    }
}

/// Frameworks whose controls are checks: a finding carries exactly one of their ids, and at most one
/// remediation may claim it for a type of resource. All other frameworks list requirements, which
/// several checks may serve.
const CHECKS: [&str; 3] = ["security-hub", "config", "prowler"];

/// A set of remediations.
pub struct Catalog {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    by_control: HashMap<ControlRef, Vec<usize>>,
}

struct Entry {
    path: Cow<'static, str>,
    source: Source,
    name: Cow<'static, str>,
    resources: Vec<Cow<'static, str>>,
    controls: Vec<Control>,
    parsed: OnceLock<Option<Arc<Remediation>>>,
}

/// Where an entry's text is.
#[derive(Clone)]
enum Source {
    Embedded(&'static Embedded),
    Read(String),
}

/// A complaint about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiagnostic {
    /// The file, as it was named to [`Catalog::load`] or relative to `catalog/`.
    pub path: String,
    /// The complaint.
    pub diagnostic: Diagnostic,
}

/// `path:12:3: error: message`
impl fmt::Display for FileDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.diagnostic)
    }
}

impl Catalog {
    /// The remediations that Stanch ships. Each is parsed when it is first asked for.
    #[must_use]
    pub fn embedded() -> Self {
        let mut catalog = Self::empty();
        for file in EMBEDDED {
            catalog.add(Entry {
                path: file.path.into(),
                source: Source::Embedded(file),
                name: file.name.into(),
                resources: file.resources.iter().map(|kind| (*kind).into()).collect(),
                controls: file
                    .controls
                    .iter()
                    .map(|(framework, id)| Control::new(*framework, *id))
                    .collect(),
                parsed: OnceLock::new(),
            });
        }
        catalog
    }

    /// Path and text of every file that Stanch ships.
    pub fn embedded_files() -> impl Iterator<Item = (&'static str, &'static str)> {
        EMBEDDED.iter().map(|file| (file.path, file.text()))
    }

    /// Remediations from the given files, as path and text. A file with an error is left out.
    #[must_use]
    pub fn load<P, T>(files: impl IntoIterator<Item = (P, T)>) -> (Self, Vec<FileDiagnostic>)
    where
        P: Into<String>,
        T: Into<String>,
    {
        let mut catalog = Self::empty();
        let found = catalog.extend(files);
        (catalog, found)
    }

    /// Adds the given files, as path and text: a user's own remediations to those that Stanch
    /// ships. A file with an error, or one that claims what another claims already, is left out.
    pub fn extend<P, T>(&mut self, files: impl IntoIterator<Item = (P, T)>) -> Vec<FileDiagnostic>
    where
        P: Into<String>,
        T: Into<String>,
    {
        let mut found = Vec::new();
        for (path, text) in files {
            let (path, text) = (path.into(), text.into());
            let (remediation, diagnostics) = parse(&text);
            let entry = remediation.map(|remediation| {
                let mut entry =
                    Entry::claiming(path.clone().into(), Source::Read(text), &remediation);
                entry.parsed = OnceLock::from(Some(Arc::new(remediation)));
                entry
            });
            self.take(&path, entry, diagnostics, &mut found);
        }
        found
    }

    /// Adds a file if nothing is wrong with it.
    fn take(
        &mut self,
        path: &str,
        entry: Option<Entry>,
        mut diagnostics: Vec<Diagnostic>,
        found: &mut Vec<FileDiagnostic>,
    ) {
        if let Some(entry) = entry {
            diagnostics.extend(self.conflicts(&entry));
            if diagnostics.iter().all(|d| d.severity != Severity::Error) {
                self.add(entry);
            }
        }
        found.extend(diagnostics.into_iter().map(|diagnostic| FileDiagnostic {
            path: path.to_owned(),
            diagnostic,
        }));
    }

    /// Checks every file of the catalog as if it were loaded now.
    #[must_use]
    pub fn check(&self) -> Vec<FileDiagnostic> {
        let mut loaded = Self::empty();
        let mut found = Vec::new();
        for (entry, (claims, diagnostics)) in self.entries.iter().zip(claims(&self.entries)) {
            loaded.take(&entry.path, claims, diagnostics, &mut found);
        }
        found
    }

    /// The remediations that a finding of `controls` about a resource of type `resource` asks for,
    /// in the order of the controls.
    #[must_use]
    pub fn find(&self, controls: &[ControlRef], resource: &str) -> Vec<Arc<Remediation>> {
        let mut found: Vec<usize> = Vec::new();
        for control in controls {
            for &index in self.by_control.get(control).into_iter().flatten() {
                let fits = self
                    .entries
                    .get(index)
                    .is_some_and(|entry| entry.resources.iter().any(|kind| kind == resource));
                if fits && !found.contains(&index) {
                    found.push(index);
                }
            }
        }
        found
            .into_iter()
            .filter_map(|index| self.entries.get(index)?.parsed())
            .collect()
    }

    /// The remediations that fix `control`, whatever their resource.
    #[must_use]
    pub fn of_control(&self, control: &ControlRef) -> Vec<Arc<Remediation>> {
        let indexes = self.by_control.get(control).into_iter().flatten();
        indexes
            .filter_map(|index| self.entries.get(*index)?.parsed())
            .collect()
    }

    /// The remediation `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Remediation>> {
        self.entries.get(*self.by_name.get(name)?)?.parsed()
    }

    /// Name and text of the remediations that Stanch does not ship.
    pub fn own(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.entries.iter();
        own.filter_map(|entry| match &entry.source {
            Source::Embedded(_) => None,
            Source::Read(text) => Some((&*entry.name, text.as_str())),
        })
    }

    /// Every remediation, in the order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Remediation>> {
        self.entries.iter().filter_map(Entry::parsed)
    }

    /// The path of the file of the remediation `name`.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&str> {
        Some(&self.entries.get(*self.by_name.get(name)?)?.path)
    }

    /// The text of the file of the remediation `name`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        Some(self.entries.get(*self.by_name.get(name)?)?.text())
    }

    /// Every control of a finding that has a remediation, each once.
    pub fn controls(&self) -> impl Iterator<Item = &ControlRef> {
        self.by_control.keys()
    }

    /// A control or a remediation as it is spelt, of what people call `name`; none if nothing here fixes it.
    #[must_use]
    pub fn spelt(&self, name: &str) -> Option<String> {
        let same = |known: &String| known.eq_ignore_ascii_case(name);
        let mut controls = self.controls().map(ToString::to_string);
        let mut names = self.entries.iter().map(|entry| entry.name.to_string());
        controls.find(same).or_else(|| names.find(same))
    }

    /// How many remediations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn empty() -> Self {
        Self {
            entries: Vec::new(),
            by_name: HashMap::new(),
            by_control: HashMap::new(),
        }
    }

    fn add(&mut self, entry: Entry) {
        let index = self.entries.len();
        self.by_name.insert(entry.name.to_string(), index);
        for control in entry.controls.iter().filter_map(Control::reference) {
            self.by_control.entry(control).or_default().push(index);
        }
        self.entries.push(entry);
    }

    fn conflicts(&self, new: &Entry) -> Vec<Diagnostic> {
        let complain = |message: String, hint: &str| {
            Diagnostic::error(Position { line: 1, column: 1 }, message).hint(hint)
        };
        let mut found = Vec::new();
        if let Some(path) = self.path(&new.name) {
            found.push(complain(
                format!("`{}` is already the remediation of `{path}`", new.name),
                "choose another name",
            ));
        }
        let checks = new
            .controls
            .iter()
            .filter(|c| CHECKS.contains(&c.framework.as_str()));
        for control in checks {
            for &index in control
                .reference()
                .and_then(|r| self.by_control.get(&r))
                .into_iter()
                .flatten()
            {
                let Some(entry) = self.entries.get(index) else {
                    continue;
                };
                let shared = entry
                    .resources
                    .iter()
                    .find(|kind| new.resources.contains(kind));
                if let Some(kind) = shared {
                    found.push(complain(
                        format!(
                            "`{control}` for `{kind}` is already claimed by `{}`",
                            entry.path
                        ),
                        "remove the control from one of the two files",
                    ));
                }
            }
        }
        found
    }
}

/// A file's remediation, if it can be understood, and what is wrong with it.
type Reading = (Option<Remediation>, Vec<Diagnostic>);

/// What every file claims, and what is wrong with it. Each processor reads what the others have left, a
/// few files at a time, and keeps no more of them than that.
fn claims(entries: &[Entry]) -> Vec<(Option<Entry>, Vec<Diagnostic>)> {
    const AT_ONCE: usize = 8;
    let left = Mutex::new(entries.chunks(AT_ONCE).enumerate());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let read = || {
        let mut done = Vec::new();
        while let Some((number, share)) = next() {
            let claims: Vec<_> = share.iter().map(Entry::claims).collect();
            done.push((number, claims));
        }
        done
    };
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut done: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = (0..processors).map(|_| scope.spawn(read)).collect();
        readers
            .into_iter()
            .flat_map(|reader| {
                reader
                    .join()
                    .unwrap_or_else(|why| panic::resume_unwind(why))
            })
            .collect()
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().flat_map(|(_, claims)| claims).collect()
}

impl Entry {
    /// What `remediation` claims; it is read again once it is asked for.
    fn claiming(path: Cow<'static, str>, source: Source, remediation: &Remediation) -> Self {
        Self {
            path,
            source,
            name: remediation.name.clone().into(),
            resources: remediation
                .resources
                .iter()
                .map(|kind| kind.clone().into())
                .collect(),
            controls: remediation.controls.clone(),
            parsed: OnceLock::new(),
        }
    }

    /// Reads the file for what it claims and what is wrong with it.
    fn claims(&self) -> (Option<Self>, Vec<Diagnostic>) {
        let (remediation, diagnostics) = self.read();
        let claims = remediation.map(|remediation| {
            Self::claiming(self.path.clone(), self.source.clone(), &remediation)
        });
        (claims, diagnostics)
    }

    /// None if the file has errors: those it ships are free of them, which a test asserts.
    fn parsed(&self) -> Option<Arc<Remediation>> {
        self.parsed
            .get_or_init(|| self.read().0.map(Arc::new))
            .clone()
    }

    fn text(&self) -> &str {
        match &self.source {
            Source::Embedded(file) => file.text(),
            Source::Read(text) => text,
        }
    }

    fn read(&self) -> Reading {
        let text = self.text();
        let tree = match &self.source {
            Source::Embedded(file) => unpack(text, file.tree()),
            Source::Read(_) => None,
        };
        match tree {
            Some(root) => parse_tree(&root),
            None => parse(text),
        }
    }
}
