"""Alignment: turning a face so that its five landmarks lie where the recognition network expects them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from agency_node.engine.base import Face

SIDE = 112
# Where ArcFace networks expect the landmarks in a 112×112 crop (Deng et al., "ArcFace", 2019).
TARGET = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float64,
)


def similarity(landmarks: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """The similarity transform 2×3 that takes five landmarks to TARGET with the least squared error.

    Umeyama: "Least-squares estimation of transformation parameters between two point patterns", 1991.
    """
    points = landmarks.astype(np.float64)
    centre, goal = points.mean(axis=0), TARGET.mean(axis=0)
    spread, wanted = points - centre, TARGET - goal
    left, sizes, right = np.linalg.svd(wanted.T @ spread / len(points))
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = left @ np.diag(signs) @ right
    scale = float(sizes @ signs) / max(float(spread.var(axis=0).sum()), 1e-9)
    return np.column_stack([scale * turn, goal - scale * turn @ centre])


def aligned(pixels: npt.NDArray[np.uint8], face: Face) -> npt.NDArray[np.uint8]:
    """Cut the face out of a BGR picture as uint8 112×112×3.

    The same crop as `insightface.utils.face_align.norm_crop` to within a rounded grey level, without importing
    that package: with all that it pulls in it would cost a node 70 MB.
    """
    crop = cv2.warpAffine(pixels, similarity(face.landmarks), (SIDE, SIDE), borderValue=(0, 0, 0))
    return np.asarray(crop, np.uint8)
