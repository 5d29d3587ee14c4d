// Runs PixelMed's validators on many files in one process: compiling their rules takes seconds.
// java -cp pixelmed.jar ValidateAll.java FILE...   prints "== FILE" and the messages about it.

import com.pixelmed.dicom.AttributeList;
import com.pixelmed.dicom.SOPClass;
import com.pixelmed.dicom.TagFromName;
import com.pixelmed.dicom.Attribute;
import com.pixelmed.validate.DicomInstanceValidator;
import com.pixelmed.validate.DicomSRValidator;

public class ValidateAll {
  private static DicomSRValidator reports;
  private static DicomInstanceValidator instances;

  public static void main(String[] paths) throws Exception {
    for (String path : paths) {
      AttributeList content = new AttributeList();
      content.read(path);
      System.out.println("== " + path);
      System.out.println(judged(content));
    }
  }

  private static String judged(AttributeList content) throws Exception {
    String kind =
        Attribute.getSingleStringValueOrEmptyString(content, TagFromName.SOPClassUID);
    if (SOPClass.isStructuredReport(kind)) {
      if (reports == null) reports = new DicomSRValidator();
      return reports.validate(content);
    }
    if (instances == null) instances = new DicomInstanceValidator();
    return instances.validate(content);
  }
}
