"""Sentences written for these tests: no name, no number, nobody's."""

from __future__ import annotations

OWN_EN = (
    "The harbour was quiet when the last boat came home.",
    "Nobody had expected that the shop would open again before the summer.",
    "She counted the chairs twice, and then she counted them once more.",
    "A long table stood in the hall, and on it lay the maps of the valley.",
)
OWN_ZH = (
    "港口很安静，最后一条船刚刚回来。",
    "谁也没有想到，那家小店会在夏天之前重新开门。",
    "她把椅子数了两遍，然后又数了一遍。",
    "大厅里有一张长桌，上面放着山谷的地图。",
)
