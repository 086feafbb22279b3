"""CIFAR-100: 50,000 and 10,000 colour images of 32x32 pixels in a hundred classes (Krizhevsky 2009).

Labels are the fine ones; the twenty coarse classes are not used.
"""

from __future__ import annotations

from datasets.cifar_pickle import pickle_files
from datasets.parquet import parquet_files
from datasets.source import Download, Source

_PICKLES = pickle_files("cifar-100-python", train=("train",), test="test", label_key="fine_labels", files="train + test")

_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
"""The fine labels, as Krizhevsky's file `meta` names them."""

SOURCE = Source(
    name="cifar100",
    label="CIFAR-100",
    classes=tuple(_CLASSES.split()),
    aliases=(("cra", "crab"),),  # as the Hub misspells it
    mean=(0.5071, 0.4866, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    size=32,
    flip=True,
    counts=(50_000, 10_000),
    layouts=(_PICKLES, parquet_files("cifar100", channels=3)),
    download=Download("CIFAR100"),
)
