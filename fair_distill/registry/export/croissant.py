"""A version as Croissant metadata with its RAI vocabulary (MLCommons, 1.1 and 1.0): what catalogues and readers take.

JSON-LD whose `distribution` names the file by SHA-256 and whose `recordSet` says what its columns are, so that any
Croissant reader loads the set without us. What it says in words is what the dataset card says.
"""

from typing import Any

from fair_distill.card import DatasetCard
from fair_distill.formats.row_schema import Categorical
from fair_distill.registry.client import Found
from fair_distill.registry.export.dataset_card import untested, use, what
from fair_distill.registry.layout import object_key
from fair_distill.registry.manifest import SET_FILE

_TERMS = (
    "arrayShape citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isArray "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate "
    "separator source subField transform"
)
# The context of the format's version 1.1; a reader knows the terms by it.
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


def croissant(found: Found, *, base: str) -> dict[str, Any]:
    """Return the metadata of one version.

    Parameters
    ----------
    base : where the registry lies, as whoever reads the metadata sees it: a folder beside it, or a URL
    """
    card = found.manifest.card
    (file,) = (entry for entry in found.manifest.files if entry.path == SET_FILE)
    place = f"{base}/{object_key(file.md5)}"
    verdict = found.verdict or (found.verdicts[-1] if found.verdicts else None)
    judged = (
        "Never judged."
        if verdict is None
        else f"Verdict {verdict.outcome}, digest {verdict.digest}. "
        + " ".join(one.sentence for one in verdict.findings)
    )
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": found.reference,
        "description": what(found),
        "version": f"{found.number}.0.0",
        "url": place,
        "identifier": f"sha256:{found.version}",
        "datePublished": found.published.time,
        "creator": {"@type": "sc:Person", "name": found.published.who},
        "rai:dataCollection": f"Distilled from {sum(map(sum, card.train_counts)):,} examples by {card.name!r}.",
        "rai:dataUseCases": use(found),
        "rai:dataBiases": judged,
        "rai:dataLimitations": " ".join(untested(found, verdict)),
        "rai:personalSensitiveInformation": f"The source's groups: {', '.join(card.groups)}. No example carries one.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": SET_FILE,
                "name": SET_FILE,
                "contentUrl": place,
                "contentSize": f"{file.size} B",
                "encodingFormat": "application/x-parquet",  # not IANA's name: the one that readers of Croissant know
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
        columns = [
            _field(one.name, "sc:Text" if isinstance(one, Categorical) else "sc:Float") for one in card.schema.columns
        ]
    label = _field("label", "sc:Integer") | {"references": {"field": {"@id": "classes/label"}}}
    return {"@type": "cr:RecordSet", "@id": "examples", "name": "examples", "field": [*columns, label]}


def _field(column: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"examples/{column}",
        "name": column,
        "dataType": kind,
        "source": {"fileObject": {"@id": SET_FILE}, "extract": {"column": column}},
    }
