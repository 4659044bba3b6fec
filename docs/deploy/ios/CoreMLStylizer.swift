// Not built here, and not run on a phone. Unzip model.256x256.mlpackage.zip and add the package to
// the app's target: Xcode compiles it to model.256x256.mlmodelc. iOS 16, macOS 13 or newer.
import CoreGraphics
import CoreML
import CoreVideo
import Foundation
import VideoToolbox

final class CoreMLStylizer {
    private let model: MLModel
    private let image: MLImageConstraint

    init(size: String = "256x256") throws {
        guard let url = Bundle.main.url(forResource: "model.\(size)", withExtension: "mlmodelc")
        else { throw CocoaError(.fileNoSuchFile) }
        let configuration = MLModelConfiguration()
        configuration.computeUnits = .all  // Core ML chooses among CPU, GPU and Neural Engine
        model = try MLModel(contentsOf: url, configuration: configuration)
        guard let constraint = model.modelDescription.inputDescriptionsByName["image"]?
            .imageConstraint
        else { throw CocoaError(.coderInvalidValue) }
        image = constraint
    }

    /// Paints a picture, which is scaled to the model's size; call it off the main thread.
    func stylize(_ photo: CGImage) throws -> CGImage {
        let value = try MLFeatureValue(cgImage: photo, constraint: image)
        return try stylize(MLDictionaryFeatureProvider(dictionary: ["image": value]))
    }

    /// Paints a frame of a camera, in kCVPixelFormatType_32BGRA and of the model's size.
    func stylize(_ frame: CVPixelBuffer) throws -> CGImage {
        let value = MLFeatureValue(pixelBuffer: frame)
        return try stylize(MLDictionaryFeatureProvider(dictionary: ["image": value]))
    }

    private func stylize(_ input: MLFeatureProvider) throws -> CGImage {
        let painted = try model.prediction(from: input).featureValue(for: "stylized")
        guard let buffer = painted?.imageBufferValue else { throw CocoaError(.coderInvalidValue) }
        var result: CGImage?
        VTCreateCGImageFromCVPixelBuffer(buffer, options: nil, imageOut: &result)
        guard let result else { throw CocoaError(.coderInvalidValue) }
        return result
    }
}
