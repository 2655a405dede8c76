"""A version as Croissant metadata (MLCommons, 1.1) with the RAI vocabulary (1.0), for catalogues and dataset readers.

In the JSON-LD, `distribution` names the file by its SHA-256 and `recordSet` describes its columns. So every Croissant
reader can load the set without this package. The texts are those of the dataset card.
"""

from typing import Any

import pyarrow as pa

from fair_distill.card import DatasetCard
from fair_distill.formats.value_types import arrow_type
from fair_distill.registry.client import RegisteredVersion
from fair_distill.registry.export.dataset_card import description, intended_use, latest_verdict, untested
from fair_distill.registry.layout import object_key
from fair_distill.registry.manifest import SET_FILE

_TERMS = (
    "arrayShape citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isArray "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate "
    "separator source subField transform"
)
# The context of version 1.1 of the format, which defines the terms for readers.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS.split()},
}


def croissant(version: RegisteredVersion, *, base: str) -> dict[str, Any]:
    """Return the metadata of one version.

    Parameters
    ----------
    base : the location of the registry for readers of the metadata: a relative folder, or a URL
    """
    card = version.manifest.card
    (file,) = (entry for entry in version.manifest.files if entry.path == SET_FILE)
    url = f"{base}/{object_key(file.md5)}"
    verdict = latest_verdict(version)
    judged = (
        "Never judged."
        if verdict is None
        else f"Verdict {verdict.outcome}, digest {verdict.digest}. "
        + " ".join(finding.sentence for finding in verdict.findings)
    )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": version.reference,
        "description": description(version),
        "version": f"{version.number}.0.0",
        "url": url,
        "identifier": f"sha256:{version.version}",
        "datePublished": version.published.time,
        "creator": {"@type": "sc:Person", "name": version.published.who},
        "rai:dataCollection": f"Distilled from {sum(map(sum, card.train_counts)):,} examples by {card.name!r}.",
        "rai:dataUseCases": intended_use(version),
        "rai:dataBiases": judged,
        "rai:dataLimitations": " ".join(untested(version, verdict)),
        "rai:personalSensitiveInformation": f"Groups of the source: {', '.join(card.groups)}. Examples have no group.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": SET_FILE,
                "name": SET_FILE,
                "contentUrl": url,
                "contentSize": f"{file.size} B",
                # Croissant readers know this name. The one that IANA registered is another one.
                "encodingFormat": "application/x-parquet",
                "sha256": file.sha256,
            }
        ],
        "recordSet": [_classes(card), _examples(card)],
    }


def _classes(card: DatasetCard) -> dict[str, Any]:
    names = {"classes/label": "sc:Integer", "classes/name": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/label"},
        "field": [{"@type": "cr:Field", "@id": i, "name": i, "dataType": kind} for i, kind in names.items()],
        "data": [{"classes/label": number, "classes/name": name} for number, name in enumerate(card.classes)],
    }


def _examples(card: DatasetCard) -> dict[str, Any]:
    if card.schema is None:
        size = ",".join(map(str, card.shape))
        columns = [_field("image", "sc:Float") | {"isArray": True, "arrayShape": size}]
    else:
        columns = [_field(column.name, _croissant_type(column.arrow_type)) for column in card.schema.columns]
        if card.schema.label is not None:
            label_type = _croissant_type(arrow_type(card.schema.label.type))
            columns.append(_field(card.schema.label.name, label_type))
            return _record_set(columns)
    label = _field("label", "sc:Integer") | {"references": {"field": {"@id": "classes/label"}}}
    return _record_set([*columns, label])


def _record_set(fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": "examples", "name": "examples", "field": fields}


def _croissant_type(kind: pa.DataType) -> str:
    for accepts, name in _CROISSANT_TYPES:
        if accepts(kind):
            return name
    return "sc:Text"


_CROISSANT_TYPES = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_floating, "sc:Float"),
    (pa.types.is_date, "sc:Date"),
    (pa.types.is_timestamp, "sc:DateTime"),
)


def _field(column: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"examples/{column}",
        "name": column,
        "dataType": kind,
        "source": {"fileObject": {"@id": SET_FILE}, "extract": {"column": column}},
    }
